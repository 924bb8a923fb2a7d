//! What `.github/scripts/deploy.sh` does when the service answers well, badly, or not at all for
//! too much to do. The programs that it runs are replaced by scripts.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

use contract::workspace;

/// The stack is being updated at first, and once more.
const AWS: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$*" in
  *"OutputKey=='Url'"*) echo http://service.invalid ;;
  *"OutputKey=='RollbackAlarms'"*) echo arn:aws:cloudwatch:alarm ;;
  *"OutputKey=='SourceBucket'"*) echo bucket ;;
  *"ParameterKey=='Architecture'"*) echo arm64 ;;
  *cancel-update-stack*) touch "$here/cancelled" ;;
  *"cloudformation package"*) for last; do :; done; echo template > "$last" ;;
  *StackStatus*)
    echo . >> "$here/asked"
    if [ -e "$here/cancelled" ]; then echo UPDATE_ROLLBACK_COMPLETE
    elif [ "$(wc -l < "$here/asked")" -lt 3 ]; then echo UPDATE_IN_PROGRESS
    else echo UPDATE_COMPLETE; fi ;;
esac
"#;
const CURL: &str = "#!/bin/sh\nprintf '%s' \"$STATUS\"\n";
const NOTHING: &str = "#!/bin/sh\n";

struct Deployment(PathBuf);

impl Deployment {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("statshub-{name}-{}", std::process::id()));
        let (scripts, programs) = (folder.join(".github/scripts"), folder.join("programs"));
        fs::create_dir_all(&scripts).unwrap();
        fs::create_dir_all(&programs).unwrap();
        let script = workspace().join(".github/scripts/deploy.sh");
        fs::copy(script, scripts.join("deploy.sh")).unwrap();
        for (name, text) in [("aws", AWS), ("curl", CURL), ("jq", NOTHING), ("sleep", NOTHING)] {
            let program = programs.join(name);
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    /// Deploys, while the service answers every request by this status.
    fn run(&self, status: &str) -> Output {
        let programs = self.0.join("programs");
        let path = std::env::var("PATH").unwrap();
        Command::new("bash")
            .arg(self.0.join(".github/scripts/deploy.sh"))
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("AWS_REGION", "eu-west-1")
            .env("STATUS", status)
            .env_remove("ARCHITECTURE")
            .env_remove("STATSHUB_TOKEN")
            .env_remove("STACK")
            .output()
            .unwrap()
    }

    fn was_cancelled(&self) -> bool {
        self.0.join("programs/cancelled").exists()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_update_whose_service_answers_stays() {
    let deployment = Deployment::new("deploy-well");
    let output = deployment.run("200");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.ends_with("statshub is deployed\n"), "{output:?}");
    assert!(!deployment.was_cancelled());
}

#[test]
fn a_flood_does_not_undo_an_update_which_may_be_the_one_that_ends_it() {
    for status in ["429", "503"] {
        let deployment = Deployment::new(&format!("deploy-{status}"));
        let output = deployment.run(status);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("too busy to be tried"), "{output:?}");
        assert!(!deployment.was_cancelled(), "{status}");
    }
}

#[test]
fn an_update_whose_service_fails_is_undone() {
    for status in ["500", "401", "000"] {
        let deployment = Deployment::new(&format!("deploy-{status}"));
        let output = deployment.run(status);
        assert!(!output.status.success() && deployment.was_cancelled(), "{output:?}");
    }
}
