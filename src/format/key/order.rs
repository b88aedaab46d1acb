//! Whether keys sort by time.

use super::{BY_SIZE, Dest, Field, Piece};

impl Dest {
    /// Whether, within a stream, a directory that sorts behind another one is of a later time. What lies within one does not count.
    pub fn is_in_time_order(&self) -> bool {
        let mut order = BY_SIZE.iter();
        for piece in &self.template {
            match piece {
                Piece::Text(_) | Piece::Field(Field::Prefix | Field::Suffix) => {}
                // Names of duplicates sort behind all others.
                Piece::Field(Field::Filename) => return order.len() <= BY_SIZE.len() - 3,
                Piece::Field(time) if order.next() == Some(time) => {}
                Piece::Field(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_with_the_larger_times_in_front_is_in_the_order_of_time() {
        for (template, expected) in [
            ("{prefix}/{year}/{month}/{day}/{filename}", true),
            ("{year}/{prefix}/{month}/{suffix}/{day}/{hour}/{minute}/{filename}", true),
            ("{filename}/{prefix}/{year}/{month}/{day}", false),
            ("{prefix}/{year}{month}{day}-{filename}", true),
            ("{day}/{month}/{year}/{prefix}/{filename}", false),
            ("{prefix}/{year}/{day}/{month}/{filename}", false),
            ("{prefix}/{year}/{month}/{hour}/{day}/{filename}", false),
        ] {
            let dest = Dest::parse(&format!("s3://bkt/{template}")).unwrap();
            assert_eq!(dest.is_in_time_order(), expected, "{template}");
        }
    }
}
