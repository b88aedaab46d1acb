//! Which files the search for credentials reads, and certificates: what a confined process must be able to read, also when they
//! are replaced.

use crate::env::confine::Needs;
use std::path::{Path, PathBuf};

/// Files that variables name (AWS SDKs and Tools Reference Guide, "Settings reference"; OpenSSL's for certificates).
const NAMED: [&str; 6] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// Where the first two are otherwise, below HOME.
const HOME: [&str; 2] = [".aws/config", ".aws/credentials"];
/// Where tokens are renewed, below HOME.
const TOKENS: [&str; 2] = [".aws/sso/cache", ".aws/login/cache"];
/// The setting that names a program to be run, and the one that names another file.
const PROGRAM: &str = "credential_process";
const TOKEN_FILE: &str = "web_identity_token_file";

/// Adds them.
pub fn add(needs: &mut Needs) {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    // The last one may name several.
    let named =
        NAMED.iter().filter_map(std::env::var_os).flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>());
    let named = named.filter(|path| !path.as_os_str().is_empty());
    let named: Vec<_> = named.map(|path| at_home(&path, home.as_deref())).collect();
    let usual = home.iter().flat_map(|home| HOME.iter().map(|name| home.join(name)));
    let files: Vec<_> = named.into_iter().chain(usual).collect();
    for file in &files {
        let text = if file.is_file() { std::fs::read_to_string(file).unwrap_or_default() } else { String::new() };
        if setting(&text, PROGRAM).is_some() {
            needs.programs = Some(format!("{} has {PROGRAM}", file.display()));
        }
        needs.read.extend(setting(&text, TOKEN_FILE).map(|path| at_home(Path::new(path), home.as_deref())));
    }
    needs.read.extend(files);
    let tokens = home.iter().flat_map(|home| TOKENS.iter().map(|name| home.join(name)));
    needs.dirs.extend(tokens.filter(|dir| dir.is_dir()));
}

/// `~` as the SDK reads it.
fn at_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path.to_owned(),
    }
}

/// The value of the first line that sets `name`.
fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_in_whatever_profile_it_stands() {
        let text = "[default]\nregion = eu-west-1\n[profile a]\n# credential_process = no\n  credential_process = /bin/x y=z\n";
        assert_eq!(setting(text, PROGRAM), Some("/bin/x y=z"));
        assert_eq!(setting("[default]\n#credential_process = x\n", PROGRAM), None);
    }

    #[test]
    fn the_home_directory_may_be_written_as_a_tilde() {
        assert_eq!(at_home(Path::new("~/x"), Some(Path::new("/home/ann"))), Path::new("/home/ann/x"));
        assert_eq!(at_home(Path::new("/x"), Some(Path::new("/root"))), Path::new("/x"));
    }
}
