//! The programs that show TLS end by themselves and print what they should.

use rondel_tests::{example, run_to_end};

#[test]
fn an_echo_is_encrypted_and_strangers_are_refused() {
    let printed = run_to_end(&mut example("tls_echo"));
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "encrypted: true",
            "heard: nobody else",
            "heard: reads this",
            "a client with other roots goes no further: true",
            "all connections ended by themselves: true",
        ]
    );
}

#[test]
fn a_mail_is_taken_after_starttls_only() {
    let printed = run_to_end(&mut example("starttls_mail"));
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "clear < 220 mail.example",
            "clear > DATA",
            "clear < 530 STARTTLS first",
            "clear > STARTTLS",
            "clear < 220 go ahead",
            "tls > DATA",
            "tls < 354 end with a dot",
            "tls > Dear Rosalie,",
            "tls < 250 2 lines taken",
            "tls > QUIT",
            "tls < 221 bye",
            "all connections ended by themselves: true",
        ]
    );
}
