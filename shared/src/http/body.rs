//! Bodies: how they are encoded, and how large they may be.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::ApiError;
use crate::domain::excerpt;

/// The content of a body, of which `most` bytes are read at most.
///
/// # Errors
/// The coding is neither `gzip` nor none, the body is not what its coding says, or the content is
/// larger than `most` bytes. No more of it is decoded then, however much there would be.
pub(super) fn content<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    most: usize,
) -> Result<Cow<'a, [u8]>, ApiError> {
    if !is_gzip(headers)? {
        return if body.len() > most { Err(too_large(most)) } else { Ok(Cow::Borrowed(body)) };
    }
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    MultiGzDecoder::new(body).take(limit).read_to_end(&mut content).map_err(|error| {
        ApiError::Malformed(format!(
            "the body is not gzip, as Content-Encoding says, or not all of it came: {error}"
        ))
    })?;
    if content.len() > most { Err(too_large(most)) } else { Ok(Cow::Owned(content)) }
}

fn too_large(most: usize) -> ApiError {
    ApiError::BodyTooLarge { most }
}

/// Whether the body is compressed by gzip. `x-gzip` is another name of it, and `identity` of nothing
/// (RFC 9110, sections 8.4.1.3 and 12.5.3).
fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let codings: Vec<_> = codings
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .collect();
    match codings[..] {
        [] => Ok(false),
        [one] if ["gzip", "x-gzip"].iter().any(|gzip| one.eq_ignore_ascii_case(gzip)) => Ok(true),
        _ => Err(ApiError::UnknownCoding(excerpt(&codings.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;

    use super::*;

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
            assert_eq!(*content(&headers(&[coding]), &body, 10).unwrap(), *b"{}", "{coding}");
        }
        let members = [body.clone(), body].concat();
        assert_eq!(*content(&headers(&["gzip"]), &members, 10).unwrap(), *b"{}{}");
        for none in [&[][..], &["identity"], &[""]] {
            assert_eq!(*content(&headers(none), b"{}", 10).unwrap(), *b"{}");
        }
    }

    #[test]
    fn what_is_no_gzip_or_cut_off_is_refused() {
        let whole = gzip(&[b'x'; 100]);
        let cut = &whole[..whole.len() - 5];
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for body in [&b"{}"[..], b"", cut, &flipped] {
            let error = content(&headers(&["gzip"]), body, 1_000).unwrap_err();
            assert_eq!(error.status(), 400, "{error}");
            assert!(error.to_string().starts_with("the body is not gzip"), "{error}");
        }
    }

    #[test]
    fn other_codings_are_named() {
        for coding in [&["br"][..], &["deflate"], &["zstd"], &["gzip, gzip"], &["gzip", "br"]] {
            let error = content(&headers(coding), b"{}", 10).unwrap_err();
            assert_eq!(error.status(), 415, "{error}");
            assert!(error.to_string().contains(coding[0]), "{error}");
        }
    }

    #[test]
    fn the_content_is_limited_and_what_explodes_is_not_decoded_to_its_end() {
        let gzip_header = headers(&["gzip"]);
        assert!(content(&gzip_header, &gzip(&[b' '; 1_000]), 1_000).is_ok());
        let bomb = gzip(&vec![0; 50_000_000]);
        for (headers, body) in [
            (&gzip_header, &bomb[..]),
            (&gzip_header, &gzip(&[0; 1_001])),
            (&HeaderMap::new(), &[0; 1_001]),
        ] {
            assert_eq!(content(headers, body, 1_000).unwrap_err().status(), 413);
        }
    }
}
