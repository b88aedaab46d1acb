//! Amazon Athena: an external table. Files whose names begin with `_` or `.` are passed over, so manifests do not disturb.

use super::partitions::{Column, Kind, Partitions};
use super::{Wish, quoted_with_backslashes as quoted, refuse};
use crate::error::Result;

pub fn statement(wish: &Wish) -> Result<String> {
    refuse("athena", &[("--endpoint-url", wish.endpoint_url.is_some()), ("--region", wish.region.is_some())])?;
    let partitions = Partitions::of("athena", wish)?;
    let mut text = partitions.advice();
    text.push_str(&format!("CREATE EXTERNAL TABLE IF NOT EXISTS {} (\n  `line` string\n)\n", wish.table));
    if !partitions.columns.is_empty() {
        let columns: Vec<_> = partitions.columns.iter().map(column).collect();
        text.push_str(&format!("PARTITIONED BY (\n{}\n)\n", columns.join(",\n")));
    }
    // One group that takes the whole line, whatever is in it.
    text.push_str("ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe'\n");
    text.push_str("WITH SERDEPROPERTIES ('input.regex' = '(.*)')\n");
    text.push_str("STORED AS INPUTFORMAT 'org.apache.hadoop.mapred.TextInputFormat'\n");
    text.push_str("OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'\n");
    text.push_str(&format!("LOCATION {}", quoted(&partitions.root)));
    if !partitions.columns.is_empty() {
        let mut properties = vec![("projection.enabled".to_owned(), "true".to_owned())];
        properties.extend(partitions.columns.iter().flat_map(projection));
        properties.push(("storage.location.template".to_owned(), partitions.location));
        let lines: Vec<_> = properties.iter().map(|(key, value)| format!("  '{key}' = {}", quoted(value))).collect();
        text.push_str(&format!("\nTBLPROPERTIES (\n{}\n)", lines.join(",\n")));
    }
    text.push_str(";\n");
    Ok(text)
}

fn column(column: &Column) -> String {
    let kind = if matches!(column.kind, Kind::Number { .. }) { "int" } else { "string" };
    format!("  `{}` {kind}", column.name)
}

fn projection(column: &Column) -> Vec<(String, String)> {
    let pairs: Vec<(&str, String)> = match &column.kind {
        Kind::Injected => vec![("type", "injected".into())],
        Kind::Enum(values) => vec![("type", "enum".into()), ("values", values.join(","))],
        Kind::Date { format, since } => vec![
            ("type", "date".into()),
            ("format", format.clone()),
            ("range", format!("{since},NOW")),
            ("interval", "1".into()),
            ("interval.unit", "DAYS".into()),
        ],
        Kind::Number { from, to, digits } => {
            vec![("type", "integer".into()), ("range", format!("{from},{to}")), ("digits", digits.to_string())]
        }
    };
    pairs.into_iter().map(|(key, value)| (format!("projection.{}.{key}", column.name), value)).collect()
}
