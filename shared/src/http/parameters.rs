//! The parameters of a query.

use percent_encoding::percent_decode_str;

use super::{RequestError, listed::listed};
use crate::domain::excerpt;

/// The parameters of a query, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

/// The values of parameters that may come once, and of those that may come several times.
pub type Values<'a, const N: usize, const L: usize> = ([Option<&'a str>; N], [Vec<&'a str>; L]);

impl Parameters {
    /// Reads the part of a URL after `?`. A plus is a space, as in HTML forms.
    ///
    /// # Errors
    /// A name or a value is not UTF-8.
    pub fn parse(query: &str) -> Result<Self, RequestError> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, RequestError>>()?))
    }

    /// The values of the parameters with these names, in the order of the names.
    ///
    /// # Errors
    /// There is a parameter of another name, or one comes twice. To ignore it would be to answer
    /// something else than what was asked for, by a typing error in a filter.
    pub fn only<const N: usize>(
        &self,
        known: [&str; N],
    ) -> Result<[Option<&str>; N], RequestError> {
        let (values, []) = self.only_with_lists(known, [])?;
        Ok(values)
    }

    /// The same, with parameters that may come several times: all their values, in their order.
    ///
    /// # Errors
    /// There is a parameter of another name, or one that may come once comes twice.
    pub fn only_with_lists<const N: usize, const L: usize>(
        &self,
        once: [&str; N],
        often: [&str; L],
    ) -> Result<Values<'_, N, L>, RequestError> {
        let mut values = [None; N];
        let mut lists = [const { Vec::new() }; L];
        for (name, value) in &self.0 {
            let mut slots = once.iter().zip(&mut values);
            let mut many = often.iter().zip(&mut lists);
            if let Some((_, slot)) = slots.find(|(known, _)| *known == name) {
                if slot.replace(value.as_str()).is_some() {
                    return Err(RequestError::Malformed(format!(
                        "{name} is given twice: leave one out"
                    )));
                }
            } else if let Some((_, list)) = many.find(|(known, _)| *known == name) {
                list.push(value.as_str());
            } else {
                return Err(unknown(name, &[&once[..], &often[..]].concat()));
            }
        }
        Ok((values, lists))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

fn unknown(name: &str, known: &[&str]) -> RequestError {
    let name = excerpt(name);
    RequestError::Malformed(match known {
        [] => format!(
            "there is no parameter \"{name}\": this path takes none; a ? that belongs to a name is \
             written %3F"
        ),
        known => format!("there is no parameter \"{name}\": use {}", listed(known)),
    })
}

fn decoded(text: &str) -> Result<String, RequestError> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| {
        let text = excerpt(&text);
        RequestError::Malformed(format!("the parameter \"{text}\" is not UTF-8 when it is decoded"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(query: &str, known: [&str; 2]) -> String {
        Parameters::parse(query)
            .and_then(|read| read.only(known).map(drop))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn parameters_are_decoded_in_their_order() {
        let read = Parameters::parse("b=1%2B1+x&a&&c=d=e&d=%C3%A9").unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(read, ["b=1+1 x", "a=", "c=d=e", "d=é"]);
    }

    #[test]
    fn known_parameters_come_once_and_unknown_ones_are_named() {
        let read = Parameters::parse("b=2&a=1").unwrap();
        assert_eq!(read.only(["a", "b", "c"]).unwrap(), [Some("1"), Some("2"), None]);
        assert_eq!(error("a=1&A=2", ["a", "b"]), "there is no parameter \"A\": use a and b");
        assert_eq!(error("b=1&b=1", ["a", "b"]), "b is given twice: leave one out");
        assert!(error("a=%FF", ["a", "b"]).contains("is not UTF-8"));
        let lists = Parameters::parse("k=1&a=2&k=3").unwrap();
        let (once, often) = lists.only_with_lists(["a"], ["k", "s"]).unwrap();
        assert_eq!((once, often), ([Some("2")], [vec!["1", "3"], vec![]]));
        let refused = lists.only_with_lists(["k"], ["a"]).unwrap_err().to_string();
        assert_eq!(refused, "k is given twice: leave one out");
        let none = Parameters::parse("kye=es").unwrap().only([]).unwrap_err().to_string();
        assert!(none.starts_with("there is no parameter \"kye\": this path takes none"), "{none}");
    }
}
