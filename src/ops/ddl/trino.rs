//! Trino's Hive connector: an external table. It passes over files whose names begin with `_` or `.`.

use super::partitions::{Column, Kind, Partitions};
use super::{Wish, quoted, refuse};
use crate::error::Result;

pub fn statement(wish: &Wish) -> Result<String> {
    refuse("trino", &[("--endpoint-url", wish.endpoint_url.is_some()), ("--region", wish.region.is_some())])?;
    let partitions = Partitions::of("trino", wish)?;
    let mut text = partitions.advice();
    let mut columns = vec!["  line varchar".to_owned()];
    columns.extend(partitions.columns.iter().map(column));
    text.push_str(&format!("CREATE TABLE {} (\n{}\n)\nWITH (\n", wish.table, columns.join(",\n")));
    // One group that takes the whole line, whatever is in it.
    let mut properties = vec![
        "format = 'REGEX'".to_owned(),
        "regex = '(.*)'".to_owned(),
        format!("external_location = {}", quoted(&partitions.root)),
    ];
    if !partitions.columns.is_empty() {
        let names: Vec<_> = partitions.columns.iter().map(|column| quoted(column.name)).collect();
        properties.push(format!("partitioned_by = ARRAY[{}]", names.join(", ")));
        properties.push("partition_projection_enabled = true".to_owned());
        properties.push(format!("partition_projection_location_template = {}", quoted(&partitions.location)));
    }
    text.push_str(&format!("  {}\n);\n", properties.join(",\n  ")));
    Ok(text)
}

fn column(column: &Column) -> String {
    let list = |values: &[String]| values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
    let (sql, properties) = match &column.kind {
        Kind::Injected => ("varchar", "partition_projection_type = 'INJECTED'".to_owned()),
        Kind::Enum(values) => (
            "varchar",
            format!("partition_projection_type = 'ENUM', partition_projection_values = ARRAY[{}]", list(values)),
        ),
        Kind::Date { format, since } => (
            "varchar",
            format!(
                "partition_projection_type = 'DATE', partition_projection_format = {}, \
                 partition_projection_range = ARRAY[{}], partition_projection_interval = 1, \
                 partition_projection_interval_unit = 'DAYS'",
                quoted(format),
                list(&[since.clone(), "NOW".to_owned()])
            ),
        ),
        Kind::Number { from, to, digits } => (
            "integer",
            format!(
                "partition_projection_type = 'INTEGER', partition_projection_range = ARRAY[{}], \
                 partition_projection_digits = {digits}",
                list(&[from.to_string(), to.to_string()])
            ),
        ),
    };
    format!("  {} {sql} WITH ({properties})", column.name)
}
