//! EST's bodies: base64 of DER (RFC 8951, which mends RFC 7030), PKCS#10 in and PKCS#7 certs-only out.

use base64ct::{Base64, Encoding as _};
use cms::content_info::ContentInfo;
use der::{Decode as _, Encode as _};
use x509_cert::Certificate;
use zeroize::Zeroizing;

/// Largest request body, bytes: a P-256 request has some 400.
pub const BODY_MAX: usize = 8 * 1024;
/// Characters in a line of a body.
const LINE: usize = 64;

/// Why a body is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than any lawful request.
    #[error("the body is longer than {BODY_MAX} bytes")]
    TooLong,
    /// Not base64.
    #[error("the body is not base64")]
    NotBase64,
    /// Not certificates.
    #[error("not a certificate")]
    NotCertificate,
    /// No authorization that is understood here.
    #[error("authorization is not Basic DEVICE:CODE")]
    NotBasic,
}

/// The DER in a request's body; white space is skipped.
///
/// # Errors
/// When it is too long or not base64.
pub fn read_body(body: &[u8]) -> Result<Vec<u8>, WireError> {
    if body.len() > BODY_MAX {
        return Err(WireError::TooLong);
    }
    let text: String = body.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| char::from(*byte)).collect();
    Base64::decode_vec(&text).map_err(|_| WireError::NotBase64)
}

/// A certs-only message with one certificate, as a body.
///
/// # Errors
/// When `der` is no certificate.
pub fn certs_only(der: &[u8]) -> Result<String, WireError> {
    let certificate = Certificate::from_der(der).map_err(|_| WireError::NotCertificate)?;
    let message = ContentInfo::try_from(certificate).and_then(|message| message.to_der());
    let text = Base64::encode_string(&message.map_err(|_| WireError::NotCertificate)?);
    let mut body = String::with_capacity(text.len() + text.len() / LINE + 2);
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            body.push('\n');
        }
        body.push(character);
    }
    body.push('\n');
    Ok(body)
}

/// User and password of an `Authorization: Basic` header.
///
/// # Errors
/// When it is another kind, or not one.
pub fn basic(header: &[u8]) -> Result<(String, Zeroizing<String>), WireError> {
    let text = header.get(..6).filter(|scheme| scheme.eq_ignore_ascii_case(b"basic ")).and(header.get(6..));
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).ok_or(WireError::NotBasic)?;
    let bytes = Zeroizing::new(Base64::decode_vec(text.trim()).map_err(|_| WireError::NotBasic)?);
    let pair = std::str::from_utf8(&bytes).map_err(|_| WireError::NotBasic)?;
    let (user, password) = pair.split_once(':').ok_or(WireError::NotBasic)?;
    Ok((user.to_owned(), Zeroizing::new(password.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_with_any_line_ends_and_nothing_else_is() {
        assert_eq!(read_body(b"AAEC\r\nAwQF\n"), Ok(vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(read_body(b"-----BEGIN"), Err(WireError::NotBase64));
        assert_eq!(read_body("AA\u{e9}C".as_bytes()), Err(WireError::NotBase64));
        assert_eq!(read_body(&[b'A'; BODY_MAX + 1]), Err(WireError::TooLong));
        assert_eq!(certs_only(b"no certificate"), Err(WireError::NotCertificate));
    }

    #[test]
    fn an_authorization_is_a_user_and_a_password() {
        let header = format!("basic {}", Base64::encode_string(b"kiosk-1:a:b"));
        let (user, password) = basic(header.as_bytes()).unwrap();
        assert_eq!((user.as_str(), password.as_str()), ("kiosk-1", "a:b"));
        for bad in [&b"Bearer x"[..], b"Basic", b"Basic !", b"Basic QQ==", b"\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(basic(bad).unwrap_err(), WireError::NotBasic);
        }
    }
}
