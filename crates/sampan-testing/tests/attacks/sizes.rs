//! Messages that claim to be large.

use crate::{
    raw::{DATA, Ended, Raw, nth},
    target::Scene,
};
use sampan_testing::proto::EchoRequest;

const RESOURCE_EXHAUSTED: &str = "8";

#[test]
fn a_message_over_the_limit_is_refused_by_its_prefix() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    for (n, bytes) in (0..).zip([(4 << 20) + 1, u32::MAX]) {
        raw.head(0, nth(n), "Unary");
        let prefix = [&[0], &bytes.to_be_bytes()[..]].concat();
        raw.frame(DATA, 0, nth(n), &prefix);
        raw.flush().unwrap();
        match raw.end_of(nth(n)) {
            Ended::Status { grpc, .. } => assert_eq!(grpc, RESOURCE_EXHAUSTED),
            end @ Ended::Reset(_) => panic!("{end:?} instead of a status"),
        }
    }
    raw.call(101, &EchoRequest::default());
    raw.flush().unwrap();
    assert!(matches!(raw.end_of(101), Ended::Status { grpc, .. } if grpc == "0"));
    scene.ends_well(8);
}

#[test]
fn claims_of_large_messages_take_no_memory() {
    let scene = Scene::set();
    let mut raws: Vec<_> = (0..16).map(|_| Raw::connect(scene.address, &[])).collect();
    for raw in &mut raws {
        for n in 0..64 {
            raw.head(0, nth(n), "Unary");
            // 4 GiB in all, of which 15 bytes are sent.
            let prefix = [&[0], &(4_u32 << 20).to_be_bytes()[..], &[0; 10]].concat();
            raw.frame(DATA, 0, nth(n), &prefix);
        }
        raw.flush().unwrap();
    }
    for raw in &mut raws {
        assert!(raw.is_alive());
    }
    scene.ends_well(32);
}
