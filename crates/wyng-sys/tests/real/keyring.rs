//! The kernel's keyring.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use wyng_sys::keyring::{Keyring, MAX_SECRET};
use wyng_testkit::pools::requirement;

fn keyring(name: &str) -> Option<(Keyring, String)> {
    let keyring = Keyring::user();
    requirement(keyring.is_ok(), "kernel keyrings")
        .then(|| (keyring.unwrap(), format!("wyng-test:{name}:{}", std::process::id())))
}

fn seconds(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

#[test]
fn a_secret_is_kept_replaced_and_removed() {
    let Some((keyring, name)) = keyring("keep") else { return };
    assert_eq!(keyring.get(&name).unwrap(), None);
    assert!(!keyring.remove(&name).unwrap() && !keyring.set_timeout(&name, seconds(9)).unwrap());
    // Root has a large quota, others 20000 bytes.
    let longest = if wyng_sys::process::effective_uid() == 0 {
        MAX_SECRET
    } else {
        10_000
    };
    for secret in [&b"first"[..], b"\0second\0", &vec![9; longest]] {
        keyring.put(&name, secret, seconds(60)).unwrap();
        assert_eq!(&keyring.get(&name).unwrap().unwrap()[..], secret);
        assert_eq!(&Keyring::user().unwrap().get(&name).unwrap().unwrap()[..], secret);
    }
    assert!(keyring.set_timeout(&name, seconds(60)).unwrap());
    assert!(keyring.remove(&name).unwrap());
    assert_eq!(keyring.get(&name).unwrap(), None);
    assert!(keyring.put(&name, &[9; MAX_SECRET + 1], seconds(60)).is_err());
    assert_eq!(keyring.get(&name).unwrap(), None);
}

#[test]
fn a_secret_is_gone_when_its_time_is_over() {
    let Some((keyring, name)) = keyring("time") else { return };
    keyring.put(&name, b"short", seconds(1)).unwrap();
    keyring.put(&format!("{name}:long"), b"long", seconds(1)).unwrap();
    assert!(keyring.set_timeout(&format!("{name}:long"), seconds(60)).unwrap());
    assert!(keyring.get(&name).unwrap().is_some());
    let started = Instant::now();
    while keyring.get(&name).unwrap().is_some() {
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!keyring.set_timeout(&name, seconds(60)).unwrap(), "too late to renew");
    assert!(
        keyring.get(&format!("{name}:long")).unwrap().is_some(),
        "renewed in time"
    );
    assert!(keyring.remove(&format!("{name}:long")).unwrap());
    keyring.put(&name, b"again", seconds(60)).unwrap();
    assert_eq!(&keyring.get(&name).unwrap().unwrap()[..], b"again");
    assert!(keyring.remove(&name).unwrap());
}

#[test]
fn a_name_that_the_kernel_cannot_take_is_an_error() {
    let Some((keyring, _)) = keyring("bad") else { return };
    assert!(keyring.put("a\0b", b"x", seconds(1)).is_err() && keyring.get("a\0b").is_err());
}
