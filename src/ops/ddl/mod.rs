//! Statements by which a query engine reads the archive as it lies: a table or a view with one row for each line.
//!
//! Athena and Trino compute where the objects lie (`partitions`); DuckDB and ClickHouse list them (`files`).

mod athena;
mod clickhouse;
mod duckdb;
mod files;
mod partitions;
mod trino;

use crate::error::{Error, Result};
use crate::format::key::{Dest, Field, Piece, Place};

/// A query engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Amazon Athena: a table with partition projection.
    Athena,
    /// Trino's Hive connector: a table with partition projection.
    Trino,
    /// DuckDB: a view.
    Duckdb,
    /// ClickHouse: a view.
    Clickhouse,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// Where the archive is.
    pub dest: &'a Dest,
    /// Name of the table or view, with what qualifies it.
    pub table: &'a str,
    /// Only these prefixes; empty: whichever there are.
    pub prefixes: &'a [String],
    /// First and last year of the archive, for engines that compute partitions.
    pub years: Option<(u16, u16)>,
    /// Another server than Amazon's, for engines that are told: `http[s]://HOST[:PORT]`.
    pub endpoint_url: Option<&'a str>,
    /// The bucket's region, for engines that are told.
    pub region: Option<&'a str>,
}

/// The statement, with a newline at its end.
///
/// # Errors
/// Of class usage: a table's name that would have to be quoted; an option that the engine has no use for; a template that it
/// cannot read.
pub fn statement(engine: Engine, wish: &Wish) -> Result<String> {
    check_table(wish.table)?;
    check_ending(wish.dest)?;
    refuse_without_bucket(wish)?;
    match engine {
        Engine::Athena => athena::statement(wish),
        Engine::Trino => trino::statement(wish),
        Engine::Duckdb => check_apart(wish.dest).and_then(|()| duckdb::statement(wish)),
        Engine::Clickhouse => check_apart(wish.dest).and_then(|()| clickhouse::statement(wish)),
    }
}

/// Where in a key the file name begins is told by a pattern. It can't be where something of any length stands before it in the same
/// part, unless a time stands between them, with signs around it.
fn check_apart(dest: &Dest) -> Result<()> {
    let ends_part = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('/'));
    let any_length = |piece: &Piece| matches!(piece, Piece::Field(Field::Prefix | Field::Suffix));
    let before = dest.template().split_last().map_or(&[][..], |(_, before)| before);
    let part = before.iter().rposition(ends_part).map_or(before, |at| &before[at..]);
    let Some(last) = part.iter().rposition(any_length) else { return Ok(()) };
    match &part[last + 1..] {
        [Piece::Text(_), times @ .., Piece::Text(_)] if times.iter().any(|piece| matches!(piece, Piece::Field(_))) => {
            Ok(())
        }
        _ => Err(Error::usage("--dest", "nothing in its keys tells where {filename} begins")
            .mend("a template that can be read has {filename} in a part of its own")),
    }
}

/// A name that needs no quotes anywhere.
fn check_table(table: &str) -> Result<()> {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match table.split('.').count() <= 3 && table.split('.').all(good) {
        true => Ok(()),
        false => Err(Error::usage(format!("--table={table}"), "is no name that needs no quotes")
            .mend("letters, digits and `_`, with a database and a catalog before it if need be: DATABASE.NAME")),
    }
}

/// Every engine tells the compression by the ending of a key.
fn check_ending(dest: &Dest) -> Result<()> {
    match dest.template().last() {
        Some(Piece::Field(Field::Filename)) => Ok(()),
        _ => Err(Error::usage(
            "--dest",
            "query engines tell the compression by how a key ends, and these keys do not end with the file name",
        )
        .mend("a template that they can read ends with {filename}")),
    }
}

/// What only a bucket has is refused for a directory.
fn refuse_without_bucket(wish: &Wish) -> Result<()> {
    let given = [("--endpoint-url", wish.endpoint_url.is_some()), ("--region", wish.region.is_some())];
    match given.iter().find(|(_, given)| *given && !matches!(wish.dest.place, Place::S3(_))) {
        Some((option, _)) => Err(Error::usage(option, "goes with an s3:// DEST only")),
        None => Ok(()),
    }
}

/// An option that an engine has no use for is refused.
fn refuse(engine: &str, given: &[(&str, bool)]) -> Result<()> {
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::usage(option, format!("{engine} has no use for it")).mend("leave it out")),
        None => Ok(()),
    }
}

/// A text in quotes, as the SQL standard has it: DuckDB, Trino.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A text in quotes, where a backslash hides what follows: Athena's DDL, ClickHouse.
fn quoted_with_backslashes(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(engine: Engine, dest: &str, change: impl FnOnce(&mut Wish)) -> String {
        let dest = Dest::parse(dest).unwrap();
        let mut wish =
            Wish { dest: &dest, table: "logs", prefixes: &[], years: None, endpoint_url: None, region: None };
        change(&mut wish);
        statement(engine, &wish).unwrap_err().to_string()
    }

    const GOOD: &str = "s3://logs/{prefix}/{year}/{month}/{day}/{filename}";

    #[test]
    fn a_table_has_a_name_that_needs_no_quotes() {
        for (table, good) in [
            ("logs", true),
            ("ops.logs", true),
            ("hive.ops._l1", true),
            ("a.b.c.d", false),
            ("1a", false),
            ("a b", false),
            ("a.", false),
            ("a'", false),
            ("", false),
        ] {
            assert_eq!(check_table(table).is_ok(), good, "{table}");
        }
    }

    #[test]
    fn a_template_that_an_engine_can_not_read_is_refused_with_the_mend() {
        let all = [Engine::Athena, Engine::Trino, Engine::Duckdb, Engine::Clickhouse];
        for engine in all {
            let text = refusal(engine, "s3://logs/{prefix}/{year}/{month}/{day}/{filename}.log", |_| ());
            assert!(text.ends_with("a template that they can read ends with {filename}"), "{text}");
        }
        for engine in &all[..2] {
            let text = refusal(*engine, "file:///srv/{prefix}/{year}/{month}/{day}/{filename}", |_| ());
            assert!(text.contains("s3://"), "{text}");
            let text = refusal(*engine, "s3://logs/{filename}/{prefix}/{year}/{month}/{day}/{filename}", |_| ());
            assert!(text.contains("{filename} names a directory"), "{text}");
            let text = refusal(*engine, "s3://logs/{prefix}-{year}{month}{day}-{filename}", |_| ());
            assert!(text.contains("root of the bucket"), "{text}");
        }
    }

    #[test]
    fn an_option_that_an_engine_has_no_use_for_is_refused() {
        let text = refusal(Engine::Athena, GOOD, |wish| wish.region = Some("eu-west-1"));
        assert_eq!(text, "--region: athena has no use for it; leave it out");
        for engine in [Engine::Duckdb, Engine::Clickhouse] {
            for template in
                ["{suffix}-{filename}", "{prefix}{filename}", "{prefix}-{hour}{filename}", "{suffix}-{filename}"]
            {
                let dest = format!("s3://logs/{{prefix}}/{{year}}/{{month}}/{{day}}/{template}");
                assert!(refusal(engine, &dest, |_| ()).contains("where {filename} begins"), "{template}");
            }
        }
        assert!(refusal(Engine::Trino, GOOD, |wish| wish.endpoint_url = Some("http://h")).contains("--endpoint-url"));
        assert!(refusal(Engine::Duckdb, GOOD, |wish| wish.years = Some((2020, 2030))).contains("--years"));
        assert!(refusal(Engine::Clickhouse, GOOD, |wish| wish.years = Some((2020, 2030))).contains("--years"));
        let both = |wish: &mut Wish| (wish.endpoint_url, wish.region) = (Some("http://h"), Some("r"));
        assert!(refusal(Engine::Clickhouse, GOOD, both).contains("--region"));
        let file = "file:///srv/{prefix}/{year}/{month}/{day}/{filename}";
        for engine in [Engine::Duckdb, Engine::Clickhouse] {
            assert!(refusal(engine, file, |wish| wish.region = Some("r")).contains("s3:// DEST only"));
        }
    }

    #[test]
    fn quotes_are_hidden_in_the_way_of_the_engine() {
        assert_eq!(quoted(r"it's \d"), r"'it''s \d'");
        assert_eq!(quoted_with_backslashes(r"it's \d"), r"'it\'s \\d'");
    }
}
