//! Cells of CSV that spreadsheets would run.

use std::borrow::Cow;

/// What a cell begins with that a spreadsheet takes for a formula. Source: *CSV Injection*, OWASP.
const FORMULAS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// How the names in cells of CSV are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CsvCells {
    /// As they are.
    Plain,
    /// With a quote before what a spreadsheet would take for a formula.
    Safe,
}

impl CsvCells {
    /// What the parameter `csv` asks for: `safe`, or nothing. None for anything else.
    #[must_use]
    pub fn parse(csv: Option<&str>) -> Option<Self> {
        match csv {
            None => Some(Self::Plain),
            Some("safe") => Some(Self::Safe),
            Some(_) => None,
        }
    }

    /// The cell that has a name.
    #[must_use]
    pub fn written(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Safe if name.trim_start().starts_with(FORMULAS) => format!("'{name}").into(),
            _ => name.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_formula_is_a_text_if_that_is_asked_for() {
        for (name, safe) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum(a1)", "'@sum(a1)"),
            (" =1", "' =1"),
            ("＝1", "'＝1"),
            ("es", "es"),
            ("a=b", "a=b"),
            ("'=1", "'=1"),
        ] {
            assert_eq!(CsvCells::Safe.written(name), safe);
            assert_eq!(CsvCells::Plain.written(name), name);
        }
    }

    #[test]
    fn the_parameter_is_safe_or_absent() {
        assert_eq!(CsvCells::parse(None), Some(CsvCells::Plain));
        assert_eq!(CsvCells::parse(Some("safe")), Some(CsvCells::Safe));
        for other in ["", "Safe", "unsafe"] {
            assert_eq!(CsvCells::parse(Some(other)), None, "{other}");
        }
    }
}
