//! EST's answer: base64 (RFC 8951) of a PKCS#7 certs-only message (RFC 5652).

use base64ct::{Base64, Encoding as _};
use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::SignedData;
use der::{Decode as _, Encode as _};
use rustls_pki_types::CertificateDer;

/// Most certificates in an answer.
const CHAIN_MAX: usize = 10;

/// The certificates of a certs-only message in base64.
///
/// # Errors
/// Says what is wrong with a body that is anything else, or holds none or too many.
pub fn certificates(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let text: String = body.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| char::from(*byte)).collect();
    let der = Base64::decode_vec(&text).map_err(|_| "not base64")?;
    let message = ContentInfo::from_der(&der).map_err(|_| "not CMS")?;
    let signed: SignedData = message.content.decode_as().map_err(|_| "not signed data")?;
    let mut chain = Vec::new();
    for choice in signed.certificates.iter().flat_map(|set| set.0.iter()) {
        let CertificateChoices::Certificate(certificate) = choice else {
            return Err("a certificate of another kind");
        };
        let der = certificate.to_der().map_err(|_| "not a certificate")?;
        chain.push(CertificateDer::from(der));
    }
    if (1..=CHAIN_MAX).contains(&chain.len()) { Ok(chain) } else { Err("none or too many certificates") }
}
