//! A file of the page.

use std::io::{self, Read};

use flate2::read::GzDecoder;

/// A file of the page. All of them are text.
#[derive(Debug)]
pub(crate) struct PageFile {
    /// Its name in `/page/{file}`.
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    /// Its content, compressed by gzip.
    pub(crate) gzip: &'static [u8],
}

impl PageFile {
    /// Its content.
    ///
    /// # Errors
    /// It is not compressed by gzip, or no UTF-8.
    pub(crate) fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        GzDecoder::new(self.gzip).read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use crate::page_files::PAGE_FILES;

    /// Of all files together, in bytes as they are sent.
    const MOST_BYTES: usize = 60_000;

    #[test]
    fn all_files_are_compressed_text_and_small() {
        for file in PAGE_FILES {
            assert!(!file.text().unwrap().is_empty(), "{}", file.name);
        }
        let bytes: usize = PAGE_FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(bytes <= MOST_BYTES, "{bytes}");
    }

    #[test]
    fn the_page_has_nothing_inline_and_names_files_that_are_there() {
        let page = PAGE_FILES.iter().find(|file| file.name == crate::PAGE).unwrap();
        let text = page.text().unwrap();
        for inline in
            ["<style", " style=", " onload", " onclick", "javascript:", "http://", "https://"]
        {
            assert!(!text.contains(inline), "{inline}");
        }
        let scripts = text.matches("<script").count();
        assert_eq!((scripts, text.matches("<script type=\"module\" src=\"page/").count()), (1, 1));
        let named = text.split("\"page/").skip(1).map(|rest| rest.split('"').next().unwrap());
        let named: Vec<_> = named.collect();
        assert!(named.len() >= 3, "{named:?}");
        for name in named {
            assert!(PAGE_FILES.iter().any(|file| file.name == name), "{name}");
        }
    }
}
