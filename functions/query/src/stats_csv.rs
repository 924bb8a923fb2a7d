//! The format `csv`, by RFC 4180: a line for each number.

use csv::{Terminator, WriterBuilder};
use shared::{
    domain::{DimensionName, KeyStats},
    http::CsvCells,
};

use crate::{answer_format::DimensionText, kind::numbers, query_problem::QueryProblem};

const HEADER: &str = "dim,key,kind,stat,value\r\n";

/// The lines of a key.
///
/// # Errors
/// Never: writing to memory does not fail, and what is written is UTF-8.
pub(crate) fn key(
    dimension: &DimensionName,
    key: &str,
    stats: &KeyStats,
    cells: CsvCells,
) -> Result<String, QueryProblem> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let (dimension, key) = (cells.written(dimension.as_str()), cells.written(key));
    for (kind, stat, value) in numbers(stats) {
        let value = value.to_string();
        writer
            .write_record([&*dimension, &*key, kind.name(), stat.as_str(), &value])
            .map_err(QueryProblem::defect)?;
    }
    let lines = writer.into_inner().map_err(|error| QueryProblem::defect(error.to_string()))?;
    String::from_utf8(lines).map_err(QueryProblem::defect)
}

/// The body of the answer with these dimensions.
pub(crate) fn body<T: AsRef<str>>(dimensions: &[DimensionText<T>]) -> String {
    let lines = dimensions.iter().map(|dimension| dimension.keys.as_ref());
    [HEADER].into_iter().chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{counters, dimension, name};

    fn line(name_of_key: &str, cells: CsvCells) -> String {
        key(&name("d"), name_of_key, &counters(&[("x", -5)]), cells).unwrap()
    }

    #[test]
    fn names_are_quoted_where_they_need_to_be() {
        let lines = line("es", CsvCells::Plain) + &line("a,\"b\"", CsvCells::Plain);
        assert_eq!(
            body(&[dimension("d", &lines)]),
            "dim,key,kind,stat,value\r\nd,es,counter,x,-5\r\nd,\"a,\"\"b\"\"\",counter,x,-5\r\n"
        );
        assert_eq!(body::<&str>(&[]), HEADER);
    }

    #[test]
    fn a_name_that_looks_like_a_formula_is_a_text_if_that_is_asked_for() {
        assert_eq!(line("=1+1", CsvCells::Safe), "d,'=1+1,counter,x,-5\r\n");
        assert_eq!(line("=1+1", CsvCells::Plain), "d,=1+1,counter,x,-5\r\n");
    }
}
