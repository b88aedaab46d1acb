//! DuckDB: a view over `read_csv` with one column, which takes a line as it is.

use super::files::{Glob, expression, hive};
use super::{Wish, quoted, refuse};
use crate::error::{Error, Result};
use crate::format::key::{Field, Piece, Place};
use crate::format::name;

/// The code point of a separator that no text holds: the last one of Unicode, which is no character.
const NOWHERE: u32 = 0x10_FFFF;
/// The longest line that is read, in bytes.
const LONGEST_LINE: u32 = 64 << 20;
/// No manifest ends like an archive.
const GLOB: Glob = Glob { any: "*", plain: " !\"#$%&'()+,:;<>@^`|~", ending: "*[gtz]" };

pub fn statement(wish: &Wish) -> Result<String> {
    refuse("duckdb", &[("--years", wish.years.is_some())])?;
    let pieces = wish.dest.template();
    if wish.dest.url("").contains('?') || pieces.iter().any(|p| matches!(p, Piece::Text(text) if text.contains('?'))) {
        let cause = "DuckDB takes a `?` in a path for the beginning of a query, and then misses the ending";
        return Err(Error::usage("--dest", cause).mend("take a template without it, or clickhouse"));
    }
    let place = wish.dest.url("");
    let root = match &wish.dest.place {
        Place::S3(_) => place,
        Place::Directory(dir) => format!("{}/", GLOB.text(dir.trim_end_matches('/'))),
    };
    let every = ["*".to_owned()];
    let prefixes = if wish.prefixes.is_empty() { &every[..] } else { wish.prefixes };
    let files: Vec<_> = prefixes
        .iter()
        .map(|prefix| if prefix == "*" { prefix.clone() } else { GLOB.text(prefix) })
        .map(|prefix| format!("    {}", quoted(&format!("{root}{}", GLOB.keys(pieces, &prefix)))))
        .collect();
    let expression = quoted(&expression(pieces));
    let groups: Vec<_> = name::GROUPS.iter().map(|group| quoted(group)).collect();
    let partitions = hive(pieces);
    let part = |field: Field| match partitions.contains(&field) {
        true => field.name().to_owned(),
        false => format!("{0}(start) AS {0}", field.name()),
    };
    let parts = [Field::Year, Field::Month, Field::Day, Field::Hour].map(part).join(", ");
    let (own, types) = partitioning(&partitions);
    let access = access(wish);
    Ok(format!(
        "{access}\
-- A line with a carriage return, or that is no UTF-8, stops a query: DuckDB has no way to read it.
-- WHERE start, prefix and suffix decide which objects are read.
CREATE OR REPLACE VIEW {table} AS
SELECT line, regexp_replace(n.prefix, {duplicate}, '') AS prefix, nullif(n.suffix, '') AS suffix, start, {parts}, file
FROM (
  SELECT line, n, {own}try_strptime(n.year || n.month || n.day || n.hour || n.minute, '%Y%m%d%H%M') AS start, filename AS file
  FROM (
    SELECT line, {own}filename, regexp_extract(filename, {expression}, [{groups}]) AS n
    FROM read_csv([
{files}
      ], columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, delim = chr({NOWHERE}), quote = '', escape = '',
      comment = '', new_line = '\\n', force_not_null = ['line'], max_line_size = {LONGEST_LINE}, filename = true, {types})
    WHERE regexp_matches(filename, {expression})
  )
);
",
        table = wish.table,
        duplicate = quoted(name::DUPLICATE_EXPRESSION),
        groups = groups.join(", "),
        files = files.join(",\n").replace("    '", "        '"),
    ))
}

/// Columns that the directories name, to be passed on, and how they are read.
fn partitioning(partitions: &[Field]) -> (String, String) {
    let numbers = [Field::Year, Field::Month, Field::Day, Field::Hour];
    let named: Vec<_> = numbers.iter().filter(|field| partitions.contains(field)).map(|field| field.name()).collect();
    if named.is_empty() {
        return (String::new(), "hive_partitioning = false".to_owned());
    }
    let own = named.iter().map(|name| format!("{name}, ")).collect();
    let types: Vec<_> = named.iter().map(|name| format!("'{name}': BIGINT")).collect();
    (own, format!("hive_partitioning = true, hive_types = {{{}}}", types.join(", ")))
}

/// How a bucket is reached. No key is printed: the chain looks in the usual places.
fn access(wish: &Wish) -> String {
    let Place::S3(bucket) = &wish.dest.place else { return String::new() };
    let mut settings = format!("TYPE s3, PROVIDER credential_chain, SCOPE {}", quoted(&format!("s3://{bucket}")));
    if let Some(region) = wish.region {
        settings.push_str(&format!(", REGION {}", quoted(region)));
    }
    if let Some(url) = wish.endpoint_url {
        let (secure, host) = match url.strip_prefix("https://") {
            Some(host) => (true, host),
            None => (false, url.trim_start_matches("http://")),
        };
        let host = quoted(host.trim_end_matches('/'));
        settings.push_str(&format!(", ENDPOINT {host}, URL_STYLE 'path', USE_SSL {secure}"));
    }
    format!(
        "INSTALL httpfs;\nLOAD httpfs;\nINSTALL aws;\nLOAD aws;\nCREATE OR REPLACE SECRET {name} ({settings});\n",
        name = wish.table.replace('.', "_")
    )
}
