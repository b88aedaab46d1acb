//! ClickHouse: a view over `s3()` or `file()` in the format LineAsString, which takes every line as it is.

use super::files::{Glob, expression};
use super::{Wish, quoted_with_backslashes as quoted, refuse};
use crate::error::{Error, Result};
use crate::format::key::Place;
use crate::format::name;

/// No manifest ends like an archive.
const GLOB: Glob = Glob { any: "?", plain: "'", ending: "*.{gz,zst,log}" };

pub fn statement(wish: &Wish) -> Result<String> {
    refuse("clickhouse", &[("--years", wish.years.is_some())])?;
    let pieces = wish.dest.template();
    let prefixes: Vec<_> = wish.prefixes.iter().map(|prefix| GLOB.text(prefix)).collect();
    let prefix = match prefixes.as_slice() {
        [] => "*".to_owned(),
        [one] => one.clone(),
        several => format!("{{{}}}", several.join(",")),
    };
    let keys = GLOB.keys(pieces, &prefix);
    let source = match &wish.dest.place {
        Place::S3(bucket) => format!("s3({}", quoted(&format!("{}{keys}", address(wish, bucket)?))),
        Place::Directory(dir) => {
            format!("file({}", quoted(&format!("{}/{keys}", GLOB.text(dir.trim_end_matches('/')))))
        }
    };
    let group = |name: &str| name::GROUPS.iter().position(|group| *group == name).map_or(0, |at| at + 1);
    let number = |name: &str| format!("toUInt16OrZero(n[{}])", group(name));
    let start = ["year", "month", "day", "hour", "minute"].map(number).join(", ");
    Ok(format!(
        "-- WHERE start, prefix and suffix decide which objects are read.
CREATE OR REPLACE VIEW {table} AS
SELECT line, replaceRegexpOne(n[{prefix}], {duplicate}, '') AS prefix, nullIf(n[{suffix}], '') AS suffix,
  makeDateTime({start}, 0, 'UTC') AS start,
  toYear(start) AS year, toMonth(start) AS month, toDayOfMonth(start) AS day, toHour(start) AS hour, file
FROM (
  SELECT line, _path AS file, extractGroups(_path, {expression}) AS n
  FROM {source}, LineAsString, 'line String')
  WHERE match(_path, {expression})
);
",
        table = wish.table,
        duplicate = quoted(name::DUPLICATE_EXPRESSION),
        prefix = group("prefix"),
        suffix = group("suffix"),
        expression = quoted(&expression(pieces)),
    ))
}

/// The address of a bucket. ClickHouse finds its credentials itself.
fn address(wish: &Wish, bucket: &str) -> Result<String> {
    match (wish.endpoint_url, wish.region) {
        (Some(_), Some(_)) => {
            Err(Error::usage("--region", "clickhouse takes it from --endpoint-url").mend("leave it out"))
        }
        (Some(url), None) => Ok(format!("{}/{bucket}/", url.trim_end_matches('/'))),
        (None, region) => {
            let region = region.map(|region| format!(".{region}")).unwrap_or_default();
            // The certificate of a bucket's own host name covers no more dots.
            Ok(match bucket.contains('.') {
                true => format!("https://s3{region}.amazonaws.com/{bucket}/"),
                false => format!("https://{bucket}.s3{region}.amazonaws.com/"),
            })
        }
    }
}
