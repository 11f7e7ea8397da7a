//! The main job over each way.

use crate::far::{ALL, Far};

#[test]
fn probe() {
    for kind in ALL {
        let Some(far) = Far::new(kind) else { continue };
        let out = far.run(&["list"]);
        println!("{kind:?}: {:?}\n{}{}", out.code, out.out(), out.err());
    }
    panic!("look");
}
