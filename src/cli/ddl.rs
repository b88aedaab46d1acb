//! `logjam ddl`.

use super::options;
use super::reading::say;
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::ops::ddl::{self, Engine, Wish};
use crate::pipeline::Left;
use clap::ValueEnum;

/// Print the statement by which a query engine reads the archive
///
/// The table, or view, has one row for each line, and columns that tell where it came from. The archive is read as it lies:
/// nothing is copied, and manifests do not disturb. The statement goes to standard output and holds no key.
#[derive(clap::Args)]
pub struct Args {
    /// Which engine
    #[arg(value_enum)]
    engine: Name,
    /// Where archives go, as given to `logjam pipe`
    #[arg(long, value_name = "DEST")]
    dest: String,
    /// Name of the table or view; a database may stand before it: DATABASE.NAME
    #[arg(long, value_name = "NAME", default_value = "logs")]
    table: String,
    /// Only these prefixes. Athena and Trino need no `WHERE prefix = …` then; the others list less
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    prefixes: Vec<String>,
    /// First and last year of the archive, for athena and trino: they compute where objects lie [default: 2020-2039]
    #[arg(long, value_name = "FROM-TO", value_parser = years)]
    years: Option<(u16, u16)>,
    /// Another server than Amazon's, for duckdb and clickhouse: http://HOST[:PORT] or https://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// The bucket's region, for duckdb and clickhouse
    #[arg(long)]
    region: Option<String>,
    #[command(flatten)]
    pub(super) log: options::Log,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Amazon Athena: a table with partition projection
    Athena,
    /// Trino, Hive connector: a table with partition projection
    Trino,
    /// DuckDB: a view
    Duckdb,
    /// ClickHouse: a view
    Clickhouse,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    if let Some(url) = &args.endpoint_url {
        options::check_address(url)?;
    }
    let empty = args.prefixes.iter().any(|prefix| prefix.is_empty() || prefix.contains('/'));
    if empty {
        return Err(Error::usage("--prefixes", "a prefix is not empty and holds no `/`"));
    }
    let engine = match args.engine {
        Name::Athena => Engine::Athena,
        Name::Trino => Engine::Trino,
        Name::Duckdb => Engine::Duckdb,
        Name::Clickhouse => Engine::Clickhouse,
    };
    let dest = Dest::parse(&args.dest)?;
    let wish = Wish {
        dest: &dest,
        table: &args.table,
        prefixes: &args.prefixes,
        years: args.years,
        endpoint_url: args.endpoint_url.as_deref(),
        region: args.region.as_deref(),
    };
    let text = ddl::statement(engine, &wish)?;
    // A closed pipe is no reason to complain.
    say(text.trim_end())?;
    Ok(Left(Vec::new()))
}

/// `2020-2039`.
fn years(text: &str) -> std::result::Result<(u16, u16), String> {
    let year = |text: &str| text.parse().ok().filter(|year| (1970..=9999).contains(year));
    match text.split_once('-').and_then(|(from, to)| Some((year(from)?, year(to)?))) {
        Some((from, to)) if from <= to => Ok((from, to)),
        _ => Err("write the first and the last year, like 2020-2039".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::years;

    #[test]
    fn years_go_from_the_first_to_the_last() {
        assert_eq!(years("2020-2039"), Ok((2020, 2039)));
        assert_eq!(years("2026-2026"), Ok((2026, 2026)));
        for text in ["2039-2020", "2020", "20-30", "2020-", "-2020", "2020-2030-2040", "a-b"] {
            assert!(years(text).is_err(), "{text}");
        }
    }
}
