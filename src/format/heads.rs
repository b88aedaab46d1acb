//! The known heads of an archive: where each chain of each stream ended when it was last checked. Whoever keeps this file apart
//! from the archive notices that the newest manifests were removed, or that a chain was made anew.
//!
//! JSON objects, one a line: the archive first, then each head.

use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

/// First line: which archive it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    version: u32,
    dest: String,
    /// How many heads follow: a file that was cut is noticed.
    heads: usize,
}

/// The end of a chain. A stream has one for each DIR that ever wrote it, and for each fork by a rescue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// The stream's prefix.
    pub prefix: String,
    /// The stream's suffix, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Its place in the chain.
    pub number: u64,
    /// SHA-256 of the manifest, in hex.
    pub sha256: String,
    /// Where the manifest lies.
    pub key: String,
}

/// Writes heads down. `dest`: as it was given.
pub fn write(dest: &str, heads: &[Head]) -> Vec<u8> {
    let mut text = super::journal::line(&About { version: VERSION, dest: dest.to_owned(), heads: heads.len() });
    for head in heads {
        text.extend_from_slice(&super::journal::line(head));
    }
    text
}

/// Reads heads.
///
/// # Errors
/// What is wrong with the file; also if it is about another DEST.
pub fn read(text: &[u8], dest: &str) -> Result<Vec<Head>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text")?;
    let mut lines = text.lines();
    let about: Option<About> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    let about = about.ok_or("its first line does not say which archive it is about")?;
    if about.version != VERSION {
        return Err(format!("it is of version {}, and this program knows {VERSION}", about.version));
    }
    if about.dest != dest {
        return Err(format!("it is about another DEST, `{}`", about.dest));
    }
    let head = |(at, line)| serde_json::from_str(line).map_err(|e| format!("line {}: {e}", at + 2));
    let heads: Vec<Head> = lines.enumerate().map(head).collect::<Result<_, _>>()?;
    match heads.len() == about.heads {
        true => Ok(heads),
        false => Err(format!("it holds {} heads, and says that there are {}", heads.len(), about.heads)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let head = |suffix: Option<&str>| Head {
            prefix: "syslog".into(),
            suffix: suffix.map(str::to_owned),
            number: 7,
            sha256: "5a".into(),
            key: "k".into(),
        };
        let heads = [head(Some("web-1")), head(None)];
        let text = concat!(
            r#"{"version":1,"dest":"s3://b/{prefix}","heads":2}"#,
            "\n",
            r#"{"prefix":"syslog","suffix":"web-1","number":7,"sha256":"5a","key":"k"}"#,
            "\n",
            r#"{"prefix":"syslog","number":7,"sha256":"5a","key":"k"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(write("s3://b/{prefix}", &heads)).unwrap(), text);
        assert_eq!(read(text.as_bytes(), "s3://b/{prefix}").unwrap(), heads);
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        let text = String::from_utf8(write("d", &[])).unwrap();
        assert_eq!(read(text.as_bytes(), "d").unwrap(), []);
        for (text, cause) in [
            (String::new(), "first line"),
            (text.replace("1,", "2,"), "version 2"),
            (text.replace("0}", "1}"), "holds 0 heads, and says that there are 1"),
            (text.replace("\"d\"", "\"e\""), "another DEST, `e`"),
            (format!("{text}{{}}\n"), "line 2"),
        ] {
            let said = read(text.as_bytes(), "d").unwrap_err();
            assert!(said.contains(cause), "{text}: {said}");
        }
    }
}
