//! Every link from one page of the documentation to another leads somewhere.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use contract::{read, workspace};

/// Folders that hold no pages of ours.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

/// The paths of all pages, from the workspace on.
fn pages() -> BTreeSet<PathBuf> {
    let (mut folders, mut found) = (vec![workspace()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if !NOT_OURS.iter().any(|folder| name == *folder) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.strip_prefix(workspace()).unwrap().to_owned());
            }
        }
    }
    found
}

/// The lines of a page outside of blocks of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

/// A text without the code in it.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// The targets of the links in a page: of `[text](target)`, and of `[name]: target` at the start of
/// a line.
fn links(page: &str) -> Vec<String> {
    let prose: Vec<_> = prose(page).collect();
    let defined = prose.iter().filter_map(|line| {
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        Some(target.trim().to_owned())
    });
    // A link may be wrapped, and code within its text doesn't matter.
    let text = without_code(&prose.join("\n"));
    let inline = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    inline.chain(defined).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::<String, usize>::new();
    let headings = prose(page).filter_map(|line| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
    });
    headings
        .map(|heading| {
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let before = times.entry(anchor.clone()).or_default();
            *before += 1;
            match *before {
                1 => anchor,
                more => format!("{anchor}-{}", more - 1),
            }
        })
        .collect()
}

/// A path without `.` and `..`; none if it leads out of the workspace.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => normal.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// What is wrong with a link in a page, if anything.
fn problem(page: &Path, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (link, None),
    };
    let target = match path {
        "" => Some(page.to_owned()),
        path => normal(&page.parent().unwrap_or(Path::new("")).join(path)),
    };
    let target = target.filter(|target| workspace().join(target).exists());
    let Some(target) = target else { return Some("there is no such file") };
    let exists =
        anchor.is_none_or(|anchor| anchors(&read(target.to_str().unwrap())).contains(anchor));
    (!exists).then_some("there is no such heading")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    assert!(pages.contains(Path::new("docs/api.md")), "{pages:?}");
    let mut problems = Vec::new();
    for page in pages {
        for link in links(&read(page.to_str().unwrap())) {
            if let Some(problem) = problem(&page, &link) {
                problems.push(format!("{}: ({link}): {problem}", page.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_page_of_docs_is_linked_from_the_readme() {
    let linked = links(&read("README.md"));
    for page in pages().iter().filter(|page| page.starts_with("docs")) {
        let page = page.to_str().unwrap();
        assert!(linked.iter().any(|link| link == page), "README.md does not link {page}");
    }
}

#[test]
fn links_in_code_are_none_and_others_are_found() {
    let page = "[a](b.md) `[c](d)`\n```sh\n[e](f)\n```\n[`g`](#h-i) [two\nlines](j)\n[k]: l\n";
    assert_eq!(links(page), ["b.md", "#h-i", "j", "l"]);
}

#[test]
fn anchors_are_those_of_github() {
    let page =
        "# Update: `POST /stats/{id}`\n## A-b c_d\n## Same\n## Same\n```sh\n# code\n```\n#no\n";
    let expected = ["update-post-statsid", "a-b-c_d", "same", "same-1"];
    assert_eq!(anchors(page), expected.map(str::to_owned).into());
}

#[test]
fn what_leads_nowhere_is_a_problem() {
    let page = Path::new("docs/api.md");
    for (link, is_problem) in [
        ("../README.md#a-session", false),
        ("#a-session", false),
        ("https://example.com/#nothing", false),
        ("../testing/", false),
        ("README.md", true),
        ("#nothing", true),
        ("../../outside.md", true),
    ] {
        assert_eq!(problem(page, link).is_some(), is_problem, "{link}");
    }
}

/// Where the paths that ARCHITECTURE.md names begin.
const ROOTS: [&str; 3] = ["", "shared/src/", "functions/archive/src/"];

#[test]
fn the_files_that_the_architecture_names_exist() {
    let page = read("ARCHITECTURE.md");
    let prose: Vec<_> = prose(&page).collect();
    let prose = prose.join("\n");
    let quoted = prose.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| {
        text.contains('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c))
    };
    let is_file_or_folder = |text: &&str| {
        text.ends_with('/')
            || Path::new(text).extension().is_some_and(|extension| extension == "rs")
    };
    let files: BTreeSet<_> = quoted.filter(is_path).filter(is_file_or_folder).collect();
    assert!(files.len() > 30, "{files:?}");
    let exists = |file: &&str| ROOTS.iter().any(|root| workspace().join(root).join(file).exists());
    let missing: Vec<_> = files.iter().filter(|file| !exists(file)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
