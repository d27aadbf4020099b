//! A private certificate authority and a certificate for loopback, made anew for each server.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// The authority's certificate.
pub(super) const CA_FILE: &str = "ca.pem";
/// The server's certificate.
pub(super) const CERTIFICATE_FILE: &str = "server.pem";
/// The server's key.
pub(super) const KEY_FILE: &str = "server.key";

/// Writes the three files into `folder`.
pub(super) fn write_certificates(folder: &Path) {
    let mut authority = CertificateParams::default();
    // Were it named like the server's certificate, OpenSSL would take that one for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "Lently test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"))
        .expect("a certificate authority");
    let key = KeyPair::generate().expect("a key");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .and_then(|params| params.signed_by(&key, &authority))
        .expect("a certificate");
    for (file, text) in
        [(CA_FILE, authority.pem()), (CERTIFICATE_FILE, certificate.pem()), (KEY_FILE, key.serialize_pem())]
    {
        fs::write(folder.join(file), text).expect("a writable folder");
    }
}
