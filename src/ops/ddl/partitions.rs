//! Partitions for engines that compute where objects lie: the directories of the template, with a column for each field.

use super::Wish;
use crate::error::{Error, Result};
use crate::format::key::{Field, Piece, Place};

/// The years of an archive, if they are not given.
const YEARS: (u16, u16) = (2020, 2039);
/// The column of a day, where year, month and day stand together.
const DATE: &str = "dt";

/// Where the objects lie, and what tells partitions apart.
pub struct Partitions {
    /// What no field is in: a URL with a slash at its end.
    pub root: String,
    /// The URL of a partition, with `${COLUMN}` for what is computed, and a slash at its end.
    pub location: String,
    /// In the order of the template, each once.
    pub columns: Vec<Column>,
}

/// A column of a partition.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// The values that it has.
    pub kind: Kind,
}

/// The values of a column.
pub enum Kind {
    /// Only what a query asks for, by `=`.
    Injected,
    /// These.
    Enum(Vec<String>),
    /// Every day since the first one, which is given in the same format.
    Date { format: String, since: String },
    /// Whole numbers, from and to, with zeros before them up to a number of digits.
    Number { from: u16, to: u16, digits: u8 },
}

impl Partitions {
    /// Those of a template.
    ///
    /// # Errors
    /// Of class usage: objects lie where no such table can be.
    pub fn of(engine: &str, wish: &Wish) -> Result<Self> {
        let Place::S3(bucket) = &wish.dest.place else {
            return Err(Error::usage("--dest", format!("{engine} reads buckets only")).mend("give an s3:// DEST"));
        };
        let directory = directory(wish.dest.template());
        if directory.contains(&Piece::Field(Field::Filename)) {
            return Err(Error::usage("--dest", "{filename} names a directory, which can't be computed")
                .mend("write {filename} once, behind the last slash, or take duckdb or clickhouse"));
        }
        if directory.is_empty() {
            let cause = "objects lie in the root of the bucket, beside what logjam keeps there for itself";
            return Err(
                Error::usage("--dest", cause).mend("put a directory into the template, or take duckdb or clickhouse")
            );
        }
        let years = wish.years.unwrap_or(YEARS);
        let mut made = Self { root: format!("s3://{bucket}/"), location: String::new(), columns: Vec::new() };
        let mut rest = directory.as_slice();
        while let Some((piece, after)) = rest.split_first() {
            rest = after;
            let (name, kind) = match piece {
                Piece::Text(text) => {
                    made.location.push_str(text);
                    continue;
                }
                Piece::Field(Field::Year) if let Some((format, after)) = date(piece, rest, &directory) => {
                    rest = after;
                    let since = format.replace("yyyy", &years.0.to_string()).replace("MM", "01").replace("dd", "01");
                    (DATE, Kind::Date { format, since })
                }
                Piece::Field(field) => (field.name(), kind(*field, wish.prefixes, years)),
            };
            made.location.push_str(&format!("${{{name}}}"));
            if made.columns.iter().all(|column| column.name != name) {
                made.columns.push(Column { name, kind });
            }
        }
        made.check_use(wish)?;
        let fixed = made.location.find("${").map_or(made.location.as_str(), |at| &made.location[..at]);
        made.root.push_str(&fixed[..fixed.rfind('/').map_or(0, |slash| slash + 1)]);
        made.location = format!("s3://{bucket}/{}", made.location);
        Ok(made)
    }

    /// An option without a column that it is for is refused.
    fn check_use(&self, wish: &Wish) -> Result<()> {
        let has = |names: &[&str]| self.columns.iter().any(|column| names.contains(&column.name));
        let idle = [
            ("--prefixes", !wish.prefixes.is_empty() && !has(&[Field::Prefix.name()])),
            ("--years", wish.years.is_some() && !has(&[Field::Year.name(), DATE])),
        ];
        match idle.iter().find(|(_, idle)| *idle) {
            Some((option, _)) => {
                Err(Error::usage(option, "no directory of the template has that field").mend("leave it out"))
            }
            None => Ok(()),
        }
    }

    /// What a query has to say, as comments of the statement.
    pub fn advice(&self) -> String {
        let injected = self.columns.iter().filter(|column| matches!(column.kind, Kind::Injected));
        let say = |column: &Column| {
            let way = if column.name == Field::Prefix.name() { ", or give --prefixes here" } else { "" };
            format!("-- Every query must say which one{way}: WHERE {} = '…'\n", column.name)
        };
        injected.map(say).collect()
    }
}

/// The pieces up to the last slash.
fn directory(pieces: &[Piece]) -> Vec<Piece> {
    let slash = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('/'));
    let Some(last) = pieces.iter().rposition(slash) else { return Vec::new() };
    let mut directory = pieces[..=last].to_vec();
    if let Some(Piece::Text(text)) = directory.last_mut() {
        text.truncate(text.rfind('/').map_or(0, |slash| slash + 1));
    }
    directory
}

/// Year, month and day in this order with nothing but signs between them are one date: its format, and the pieces behind it.
/// `rest` begins behind the year. Not so if one of them stands somewhere else as well.
fn date<'a>(year: &Piece, rest: &'a [Piece], all: &[Piece]) -> Option<(String, &'a [Piece])> {
    let mut format = "yyyy".to_owned();
    let mut rest = rest;
    for (field, letters) in [(Field::Month, "MM"), (Field::Day, "dd")] {
        if let Some((Piece::Text(text), after)) = rest.split_first() {
            if !text.bytes().all(|b| matches!(b, b'/' | b'-' | b'_' | b'.')) {
                return None;
            }
            format.push_str(text);
            rest = after;
        }
        rest = rest.split_first().filter(|(piece, _)| **piece == Piece::Field(field)).map(|(_, after)| after)?;
        format.push_str(letters);
    }
    let once = |piece: &Piece| all.iter().filter(|other| *other == piece).count() == 1;
    let parts = [year.clone(), Piece::Field(Field::Month), Piece::Field(Field::Day)];
    parts.iter().all(once).then_some((format, rest))
}

fn kind(field: Field, prefixes: &[String], years: (u16, u16)) -> Kind {
    match field {
        Field::Prefix if !prefixes.is_empty() => Kind::Enum(prefixes.to_vec()),
        Field::Prefix | Field::Suffix | Field::Filename => Kind::Injected,
        Field::Year => Kind::Number { from: years.0, to: years.1, digits: 4 },
        Field::Month => Kind::Number { from: 1, to: 12, digits: 2 },
        Field::Day => Kind::Number { from: 1, to: 31, digits: 2 },
        Field::Hour => Kind::Number { from: 0, to: 23, digits: 2 },
        Field::Minute => Kind::Number { from: 0, to: 59, digits: 2 },
    }
}
