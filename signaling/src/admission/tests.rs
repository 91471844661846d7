use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde::Deserialize;

use super::*;

/// Checked by the browser's side as well.
#[derive(Deserialize)]
struct Vector {
    host_secret: Base64Url<32>,
    host_seed: Base64Url<32>,
    host_public: Base64Url<32>,
    host: Base64Url<16>,
    invite_secret: Base64Url<32>,
    admission_seed: Base64Url<32>,
    admission: Base64Url<32>,
    call: CallId,
    nonce: Base64Url<32>,
    host_name: String,
    identity_seed: Base64Url<32>,
    identity: Base64Url<32>,
    statement: String,
    signature: Base64Url<64>,
    proof_statement: String,
    proof: Base64Url<64>,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../../vectors/admission.json")).unwrap()
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

fn derive(secret: &[u8; 32], label: &str) -> Base64Url<32> {
    let mut out = [0; 32];
    let key = Salt::new(HKDF_SHA256, b"sotto/1").extract(secret);
    key.expand(&[label.as_bytes()], Bytes32).unwrap().fill(&mut out).unwrap();
    Base64Url(out)
}

fn public(seed: &Base64Url<32>) -> Base64Url<32> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).unwrap();
    Base64Url(pair.public_key().as_ref().try_into().unwrap())
}

fn sign(seed: &Base64Url<32>, statement: &[u8]) -> Base64Url<64> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).unwrap();
    Base64Url(pair.sign(statement).as_ref().try_into().unwrap())
}

fn joining(vector: &Vector) -> Join {
    let Vector { call, admission, host, identity, signature, proof, .. } = *vector;
    Join { v: 1, call, admission, host, identity, signature, proof }
}

fn admitted(join: &Join, nonce: Base64Url<32>, hosts: &[&str]) -> bool {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    Nonce(nonce).admit(join, &hosts).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_vectors_hold_from_the_host_secret_to_both_signatures() {
    for vector in vectors() {
        assert_eq!(vector.host_seed, derive(&vector.host_secret.0, "host"));
        assert_eq!(vector.host_public, public(&vector.host_seed));
        assert_eq!(vector.host.0, digest(&SHA256, &vector.host_public.0).as_ref()[..16]);
        assert_eq!(vector.invite_secret, derive(&vector.host_secret.0, "invite"));
        assert_eq!(vector.admission_seed, derive(&vector.invite_secret.0, "admission"));
        assert_eq!(vector.admission, public(&vector.admission_seed));
        assert!(vector.call == call_id(&vector.admission.0, &vector.host.0));
        let statement = statement(&joining(&vector), &vector.nonce, &vector.host_name);
        assert_eq!(vector.statement, hex(&statement));
        assert_eq!(vector.signature, sign(&vector.admission_seed, &statement));
        assert_eq!(vector.identity, public(&vector.identity_seed));
        let proven = proof_statement(&joining(&vector), &vector.nonce, &vector.host_name);
        assert_eq!(vector.proof_statement, hex(&proven));
        assert_eq!(vector.proof, sign(&vector.identity_seed, &proven));
        assert!(admitted(&joining(&vector), vector.nonce, &["other.example", &vector.host_name]));
    }
}

#[test]
fn whatever_is_changed_in_a_join_it_is_refused() {
    let vector = &vectors()[0];
    let join = joining(vector);
    let host = [vector.host_name.as_str()];
    let changes: [fn(&mut Join); 6] = [
        |join| join.call.0.0[15] ^= 1,
        |join| join.admission.0[0] ^= 1,
        |join| join.host.0[0] ^= 1,
        |join| join.identity.0[31] ^= 1,
        |join| join.signature.0[0] ^= 1,
        |join| join.proof.0[0] ^= 1,
    ];
    for change in changes {
        let mut changed = join;
        change(&mut changed);
        assert!(!admitted(&changed, vector.nonce, &host));
    }
    assert!(!admitted(&join, Base64Url([1; 32]), &host), "another nonce");
    assert!(!admitted(&join, vector.nonce, &["other.example"]), "another host name");
    assert!(!admitted(&join, vector.nonce, &[]), "no host name");
    assert!(admitted(&join, vector.nonce, &host));
}

#[test]
fn the_key_of_another_link_does_not_open_the_call() {
    let vector = &vectors()[0];
    let seed = Base64Url([5; 32]);
    let signed = |join: Join| Join {
        signature: sign(&seed, &statement(&join, &vector.nonce, &vector.host_name)),
        proof: sign(&vector.identity_seed, &proof_statement(&join, &vector.nonce, &vector.host_name)),
        ..join
    };
    let join = Join { admission: public(&seed), ..joining(vector) };
    assert!(!admitted(&signed(join), vector.nonce, &[&vector.host_name]));
    let own = Join { call: call_id(&join.admission.0, &join.host.0), ..join };
    assert!(admitted(&signed(own), vector.nonce, &[&vector.host_name]), "it opens its own");
}

#[test]
fn a_link_does_not_let_its_holder_join_as_another() {
    let vector = &vectors()[0];
    let join = joining(vector);
    let host = vector.host_name.as_str();
    let own_seed = Base64Url([6; 32]);
    let resigned = |join: Join| {
        let signature = sign(&vector.admission_seed, &statement(&join, &vector.nonce, host));
        Join { signature, ..join }
    };
    let proven_by_own = sign(&own_seed, &proof_statement(&join, &vector.nonce, host));
    assert!(!admitted(&resigned(Join { proof: proven_by_own, ..join }), vector.nonce, &[host]), "another's identity");
    let other_nonce = Base64Url([1; 32]);
    let replayed = Join { signature: sign(&vector.admission_seed, &statement(&join, &other_nonce, host)), ..join };
    assert!(!admitted(&replayed, other_nonce, &[host]), "a proof for another nonce");
    let elsewhere = sign(&vector.identity_seed, &proof_statement(&join, &vector.nonce, "other.example"));
    let relayed = Join { proof: elsewhere, ..join };
    assert!(!admitted(&relayed, vector.nonce, &[host, "other.example"]), "a proof for another host name");
    let own = resigned(Join { identity: public(&own_seed), proof: proven_by_own, ..join });
    assert!(admitted(&own, vector.nonce, &[host]), "one's own");
}

#[test]
fn fields_are_joined_behind_their_lengths() {
    assert_eq!(join_fields(&[b"ab", b"", &[0]]), [0, 2, b'a', b'b', 0, 0, 0, 1, 0]);
}
