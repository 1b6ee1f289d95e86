//! How TLS is spoken in one way of trusting: whom we believe, and which of our certificates a server is shown.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// HTTP/2 where it is offered.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Whom we believe.
pub(super) enum Believed {
    /// The system's authorities, and these.
    System(Vec<CertificateDer<'static>>),
    /// These authorities alone.
    Only(Vec<CertificateDer<'static>>),
    /// Everybody.
    Anybody,
}

/// A configuration. `identities` are our own certificates, in the order in which they are thought of.
///
/// # Errors
/// [`rustls::Error`] when the system has no authorities, or one is no certificate.
pub(super) fn config(believed: Believed, identities: Vec<Arc<CertifiedKey>>) -> Result<ClientConfig, rustls::Error> {
    let provider = super::provider();
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match believed {
        Believed::System(more) => {
            let verifier = Verifier::new_with_extra_roots(more, provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Believed::Only(authorities) => {
            let mut store = RootCertStore::empty();
            authorities.into_iter().try_for_each(|authority| store.add(authority))?;
            builder.with_root_certificates(store)
        }
        Believed::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
    };
    let mut config = builder.with_client_cert_resolver(Arc::new(Identities(identities)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// Our certificates for one server.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    /// The first that one of the authorities has issued which the server names; the first of all when it names none. One that the server
    /// has said it will not believe is not shown, as Go's clients (docker, podman) do not: some servers talk to clients without any.
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |identity: &&Arc<CertifiedKey>| {
            let mut issuers = identity.cert.iter().filter_map(|certificate| issuer(certificate));
            identity.key.choose_scheme(schemes).is_some()
                && (authorities.is_empty() || issuers.any(|issuer| authorities.contains(&issuer)))
        };
        self.0.iter().find(fits).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The name of a certificate's issuer, in DER (RFC 5280, 4.1). webpki reads version 3 only, and home-made client certificates are often of
/// version 1.
fn issuer(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, signed, _) = element(certificate)? else { return None };
    let rest = match element(signed)? {
        (VERSION, _, all) => signed.get(all..)?,
        _ => signed,
    };
    let (INTEGER, _, serial) = element(rest)? else { return None };
    let rest = rest.get(serial..)?;
    let (SEQUENCE, _, algorithm) = element(rest)? else { return None };
    let rest = rest.get(algorithm..)?;
    let (SEQUENCE, _, name) = element(rest)? else { return None };
    rest.get(..name)
}

/// The element that DER begins with: its tag, its content, and its whole length.
fn element(der: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (head, length) = match length {
        0..=0x7f => (2, usize::from(length)),
        0x81..=0x83 => {
            let bytes = rest.get(..usize::from(length & 0x7f))?;
            (2 + bytes.len(), bytes.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte)))
        }
        _ => return None,
    };
    let all = head.checked_add(length)?;
    Some((tag, der.get(head..all)?, all))
}

/// Believes everybody.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of which only what leads to the issuer is real.
    fn certificate(version: &[u8], issuer: &[u8]) -> Vec<u8> {
        let serial = [0x02, 1, 7];
        let algorithm = [0x30, 2, 5, 0];
        let signed = der(&[version, &serial, &algorithm, issuer, &[0x30; 200]].concat());
        der(&[&signed[..], &algorithm, &[3, 1, 0]].concat())
    }

    fn der(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[0x30, 0x82], &length[..], content].concat()
    }

    #[test]
    fn issuers_are_read_of_old_certificates_and_new() {
        let name = [0x30, 3, 0x31, 1, 0];
        for version in [&[][..], &[0xa0, 3, 2, 1, 2]] {
            let whole = certificate(version, &name);
            assert_eq!(issuer(&whole), Some(&name[..]));
            for len in 0..whole.len() {
                assert_eq!(issuer(&whole[..len]), None, "cut at {len}");
            }
        }
        for nonsense in [&[0x30, 0x80, 0, 0][..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x83, 0xff]] {
            assert_eq!(issuer(nonsense), None);
        }
    }
}
