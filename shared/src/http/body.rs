//! Bodies: how they are encoded, and how large they may be.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::RequestError;
use crate::domain::excerpt;

/// How large a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// What the body should be, in words for the client: `an update`.
    pub of: &'static str,
    /// How many bytes it may have when it is decoded.
    pub bytes: usize,
}

/// The content of a body.
///
/// # Errors
/// The coding is neither `gzip` nor none, the body is not what its coding says, or the content
/// exceeds the limit. In the last case nothing beyond the limit is decoded.
pub(super) fn content<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    limit: BodyLimit,
) -> Result<Cow<'a, [u8]>, RequestError> {
    let content = if is_gzip(headers)? {
        let one_more = u64::try_from(limit.bytes).unwrap_or(u64::MAX).saturating_add(1);
        let mut content = Vec::new();
        let mut decoder = MultiGzDecoder::new(body).take(one_more);
        decoder.read_to_end(&mut content).map_err(|error| {
            RequestError::Malformed(format!(
                "the body is not gzip, as Content-Encoding says, or not all of it came: {error}"
            ))
        })?;
        Cow::Owned(content)
    } else {
        Cow::Borrowed(body)
    };
    if content.len() > limit.bytes {
        return Err(RequestError::BodyTooLarge { of: limit.of, most: limit.bytes });
    }
    Ok(content)
}

/// Whether the body is compressed by gzip. `x-gzip` is another name of it, and `identity` stands
/// for no coding (RFC 9110, sections 8.4.1.3 and 12.5.3).
fn is_gzip(headers: &HeaderMap) -> Result<bool, RequestError> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let codings: Vec<_> = codings
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .collect();
    match codings[..] {
        [] => Ok(false),
        [one] if ["gzip", "x-gzip"].iter().any(|gzip| one.eq_ignore_ascii_case(gzip)) => Ok(true),
        _ => Err(RequestError::UnknownCoding(excerpt(&codings.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;

    use super::*;

    const LIMIT: BodyLimit = BodyLimit { of: "an update", bytes: 1_000 };

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn gzip_is_decoded_under_each_of_its_names() {
        let body = gzip(b"{}");
        for coding in ["gzip", "GZIP", "x-gzip", "identity, gzip"] {
            assert_eq!(*content(&headers(&[coding]), &body, LIMIT).unwrap(), *b"{}", "{coding}");
        }
        let members = [body.clone(), body].concat();
        assert_eq!(*content(&headers(&["gzip"]), &members, LIMIT).unwrap(), *b"{}{}");
        for none in [&[][..], &["identity"], &[""]] {
            assert_eq!(*content(&headers(none), b"{}", LIMIT).unwrap(), *b"{}");
        }
    }

    #[test]
    fn a_body_that_is_not_gzip_or_is_cut_off_is_refused() {
        let whole = gzip(&[b'x'; 100]);
        let cut = &whole[..whole.len() - 5];
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for body in [&b"{}"[..], b"", cut, &flipped] {
            let error = content(&headers(&["gzip"]), body, LIMIT).unwrap_err();
            assert!(matches!(error, RequestError::Malformed(_)), "{error}");
            assert!(error.to_string().starts_with("the body is not gzip"), "{error}");
        }
    }

    #[test]
    fn the_error_names_a_coding_that_is_not_understood() {
        for coding in [&["br"][..], &["deflate"], &["zstd"], &["gzip, gzip"], &["gzip", "br"]] {
            let error = content(&headers(coding), b"{}", LIMIT).unwrap_err();
            assert!(matches!(error, RequestError::UnknownCoding(_)), "{error}");
            assert!(error.to_string().contains(coding[0]), "{error}");
        }
    }

    #[test]
    fn a_content_beyond_the_limit_is_refused_without_decoding_all_of_it() {
        let gzip_header = headers(&["gzip"]);
        assert!(content(&gzip_header, &gzip(&[b' '; 1_000]), LIMIT).is_ok());
        let bomb = gzip(&vec![0; 50_000_000]);
        for (headers, body) in [
            (&gzip_header, &bomb[..]),
            (&gzip_header, &gzip(&[0; 1_001])),
            (&HeaderMap::new(), &[0; 1_001]),
        ] {
            let error = content(headers, body, LIMIT).unwrap_err();
            assert!(matches!(error, RequestError::BodyTooLarge { most: 1_000, .. }), "{error}");
        }
    }
}
