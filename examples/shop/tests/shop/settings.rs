use crate::process::{GATEWAY, ORDERS, PAYMENTS, Program, TRACKING};

#[tokio::test]
async fn a_wrong_setting_ends_the_start_with_64_and_what_was_meant() {
    for (program, key, value, meant) in [
        (
            PAYMENTS,
            "SHOP_KEEPER_PROT",
            "1",
            "did you mean SHOP_KEEPER_PORT?",
        ),
        (
            TRACKING,
            "SHOP_COURIER_STEP",
            "soon",
            "write 250ms, 5s or 1m",
        ),
        (
            ORDERS,
            "DATABASE_URL",
            "mysql://me:secret@host/db",
            "sqlite:PATH",
        ),
        (
            GATEWAY,
            "SHOP_PAGE",
            "/nowhere",
            "no index.html in /nowhere",
        ),
        (PAYMENTS, "ORDERS_ADDR", "ftp://orders", "ftp"),
    ] {
        let (code, told) = Program::new(program).with(key, value).refusal().await;
        assert_eq!(code, Some(64), "{key}={value}: {told}");
        assert!(told.contains(meant), "{key}={value}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named() {
    let program = Program::new(ORDERS).with("DATABASE_URL", "sqlite:/nowhere/orders.db");
    let (code, told) = program.refusal().await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("cannot open /nowhere/orders.db"), "{told}");
}
