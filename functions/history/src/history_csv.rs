//! The CSV of a page of a history, by RFC 4180.

use csv::{Terminator, WriterBuilder};
use shared::http::CsvCells;

use crate::point::Point;

/// The body of a page with these points.
///
/// # Errors
/// Never: writing to memory does not fail, and what is written is UTF-8.
pub(crate) fn body(
    points: &[Point],
    cells: CsvCells,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(["key", "ts", "step", "value"])?;
    for Point { key, ts, step, value } in points {
        let (step, value) = (step.seconds().to_string(), value.to_string());
        writer.write_record([&*cells.written(key), ts, &step, &value])?;
    }
    let body = writer.into_inner().map_err(|error| error.to_string())?;
    Ok(String::from_utf8(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::points;

    #[test]
    fn keys_are_quoted_where_they_need_to_be() {
        let points = points(&[["es", "1795510800", "50"], ["a,\"b\"", "1795510800", "-1"]]);
        assert_eq!(
            body(&points, CsvCells::Plain).unwrap(),
            "key,ts,step,value\r\n\
             es,2026-11-24T09:00:00Z,3600,50\r\n\
             \"a,\"\"b\"\"\",2026-11-24T09:00:00Z,3600,-1\r\n"
        );
        assert_eq!(body(&[], CsvCells::Plain).unwrap(), "key,ts,step,value\r\n");
    }

    #[test]
    fn a_key_that_looks_like_a_formula_is_a_text_if_that_is_asked_for() {
        let points = points(&[["=1+1", "1795510800", "-1"]]);
        assert_eq!(
            body(&points, CsvCells::Safe).unwrap(),
            "key,ts,step,value\r\n'=1+1,2026-11-24T09:00:00Z,3600,-1\r\n"
        );
    }
}
