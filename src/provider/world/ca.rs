//! The certificate authority of the simulated Let's Encrypt: one root per world, one leaf per order.

use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Signs leaves.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// One issued certificate, ready to be served.
#[derive(Debug)]
pub struct Leaf {
    /// The names it covers.
    pub names: Vec<String>,
    /// End of its validity (midnight UTC of that day in the certificate itself).
    pub not_after: Timestamp,
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
}

impl Authority {
    /// A fresh root.
    pub fn new() -> anyhow::Result<Authority> {
        let mut params = CertificateParams::new(Vec::new()).context("root certificate")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Sitewright simulated root");
        let key = KeyPair::generate().context("root key")?;
        Ok(Authority { issuer: CertifiedIssuer::self_signed(params, key).context("root certificate")? })
    }

    /// The root as PEM: what `PROBE_CA` trusts.
    pub fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A leaf over these names, the first as its common name, valid until `not_after`.
    pub fn issue(&self, names: &[String], not_after: Timestamp) -> anyhow::Result<Leaf> {
        let mut params = CertificateParams::new(names.to_vec()).context("names of a certificate")?;
        let date = not_after.to_zoned(TimeZone::UTC).date();
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        params.not_after = rcgen::date_time_ymd(i32::from(date.year()), month, day);
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, first.as_str());
        }
        let key = KeyPair::generate().context("key of a certificate")?;
        let leaf = params.signed_by(&key, &self.issuer).context("signing a certificate")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).context("key of a certificate")?;
        let chain = vec![leaf.der().clone(), self.issuer.der().clone()];
        Ok(Leaf { names: names.to_vec(), not_after, key: Arc::new(CertifiedKey::new(chain, signer)) })
    }
}
