//! Files for engines that list them: a pattern for the listing, and an expression that tells from a path whether it is an
//! archive's, and of what.

use crate::format::key::{Field, Piece};
use crate::format::name;

/// How an engine writes a pattern that a listing is filtered by.
pub struct Glob {
    /// Stands for one character that might mean something to the engine.
    pub any: &'static str,
    /// What else of a template may stand as it is, beside letters, digits and `_.-=/`.
    pub plain: &'static str,
    /// The end of a key that is an archive's, and no manifest's.
    pub ending: &'static str,
}

impl Glob {
    /// The pattern of the keys below the place. `prefixes`: what stands for `{prefix}`.
    pub fn keys(&self, pieces: &[Piece], prefix: &str) -> String {
        let mut glob = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => glob.push_str(&self.text(text)),
                Piece::Field(Field::Filename) => glob.push_str(self.ending),
                Piece::Field(Field::Prefix) => glob.push_str(prefix),
                Piece::Field(_) => glob.push('*'),
            }
        }
        // Two of them in a row would reach across directories.
        while glob.contains("**") {
            glob = glob.replace("**", "*");
        }
        glob
    }

    /// A text that matches itself.
    pub fn text(&self, text: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-=/".contains(c) || self.plain.contains(c);
        text.chars().map(|c| if plain(c) { c.to_string() } else { self.any.to_owned() }).collect()
    }
}

/// What the path of an archive matches, from the template on: RE2, with the groups of [`name::GROUPS`].
pub fn expression(pieces: &[Piece]) -> String {
    let mut text = "/".to_owned();
    for piece in pieces {
        match piece {
            Piece::Text(literal) => text.push_str(&escaped(literal)),
            Piece::Field(Field::Filename) => text.push_str(name::EXPRESSION),
            Piece::Field(_) => text.push_str("[^/]+"),
        }
    }
    text.push('$');
    text
}

/// Fields that the template names as Hive does, in a directory that holds nothing else: `/year={year}/`.
pub fn hive(pieces: &[Piece]) -> Vec<Field> {
    let named = |at: usize| {
        let (Piece::Text(before), Piece::Field(field), Piece::Text(behind)) =
            (pieces.get(at)?, pieces.get(at + 1)?, pieces.get(at + 2)?)
        else {
            return None;
        };
        let key = before.strip_suffix('=')?;
        let key = match key.rsplit_once('/') {
            Some((_, key)) => key,
            None if at == 0 => key,
            None => return None,
        };
        (key == field.name() && behind.starts_with('/')).then_some(*field)
    };
    (0..pieces.len()).filter_map(named).collect()
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && !"_-=/".contains(c) {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::Dest;

    #[test]
    fn a_template_becomes_a_pattern_and_an_expression() {
        let glob = Glob { any: "?", plain: "'", ending: "*.gz" };
        let dest = Dest::parse("s3://logs/it's+/{prefix}{suffix}/year={year}/{month}/day={day}/{filename}").unwrap();
        assert_eq!(glob.keys(dest.template(), "*"), "it's?/*/year=*/*/day=*/*.gz");
        assert_eq!(glob.keys(dest.template(), "{a,b}"), "it's?/{a,b}*/year=*/*/day=*/*.gz");
        let start = r"/it\'s\+/[^/]+[^/]+/year=[^/]+/[^/]+/day=[^/]+/";
        assert_eq!(expression(dest.template()), format!("{start}{}$", name::EXPRESSION));
        assert_eq!(hive(dest.template()), [Field::Year, Field::Day]);
    }

    #[test]
    fn a_field_is_a_partition_where_its_directory_is_nothing_else() {
        for (template, fields) in [
            ("year={year}/{prefix}/month={month}/x/day={day}/{filename}", &[Field::Year, Field::Month, Field::Day][..]),
            ("{prefix}/year={year}-{month}/day={day}/hour={hour}{minute}/{filename}", &[Field::Day]),
            ("{prefix}year={year}/month={month}z/{day}/{filename}", &[]),
            ("{prefix}/year={year}/month={month}/{filename}-day={day}", &[Field::Year, Field::Month]),
            ("{filename}/{prefix}/{month}/{day}/year={year}", &[]),
            ("{prefix}/year={year}/myyear={year}/month=m{month}/{day}/{filename}", &[Field::Year]),
        ] {
            let dest = Dest::parse(&format!("s3://logs/{template}")).unwrap();
            assert_eq!(hive(dest.template()), fields, "{template}");
        }
    }
}
