//! Where the next page of an answer is, in a header.

use http::{HeaderMap, HeaderValue, header::LINK};

use super::Parameters;

/// Names the next page in the header `Link` (RFC 8288): it is at the same path, whatever a
/// deployment puts before it, with the same parameters and this token.
pub fn link_next_page(headers: &mut HeaderMap, parameters: &Parameters, token: &str) {
    let same = parameters.iter().filter(|(name, _)| *name != "page");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(same)
        .append_pair("page", token)
        .finish();
    // A percent-encoded query is fit for a header.
    if let Ok(value) = HeaderValue::from_str(&format!("<?{query}>; rel=\"next\"")) {
        headers.insert(LINK, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_has_the_same_parameters_and_the_new_page() {
        let mut headers = HeaderMap::new();
        let parameters = Parameters::parse("key=%C3%A9&page=old&key=a+b&limit=2").unwrap();
        link_next_page(&mut headers, &parameters, "new");
        let expected = "<?key=%C3%A9&key=a+b&limit=2&page=new>; rel=\"next\"";
        assert_eq!(headers[LINK], expected);
    }
}
