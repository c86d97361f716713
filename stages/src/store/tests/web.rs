//! Reading from a web server, and what object_store does with answers that are cut short.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// Serves these answers, one a connection, and returns the first line and the range of each request.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let address = listener.local_addr().expect("address");
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut client, _) = listener.accept().expect("client");
            let request = request_of(&mut client);
            let told = |line: &&str| line.starts_with("GET") || line.to_lowercase().starts_with("range");
            requests.push(request.lines().filter(told).collect::<Vec<_>>().join(" "));
            client.write_all(answer.as_bytes()).expect("answer");
        }
        requests
    });
    (format!("http://{address}/cohort/a%20b.nii"), server)
}

/// Reads a request to its end: a client answered before would take the answer for nobody's.
fn request_of(client: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte).expect("request") == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).expect("text")
}

fn answer(status: &str, headers: &str, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn a_mask_on_a_web_server_is_read_by_its_url() {
    let (url, server) = serve(vec![answer("200 OK", "", 4, "mask")]);
    assert_eq!(place(&url).read(4).await.expect("read"), "mask");
    let requests = server.join().expect("server");
    assert_eq!(requests, ["GET /cohort/a%20b.nii HTTP/1.1"]);
}

#[tokio::test]
async fn a_slow_but_steady_download_comes_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let url = format!("http://{}/a", listener.local_addr().expect("address"));
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("client");
        request_of(&mut client);
        client
            .write_all(answer("200 OK", "", 6, "").as_bytes())
            .expect("head");
        for _ in 0..6 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            client.write_all(b"x").expect("a byte now and then");
        }
    });
    let conf = StoreConf {
        read_timeout_s: std::num::NonZeroU64::MIN,
        ..StoreConf::default()
    };
    let place = Stores::new(conf).place(&ObjectUrl::new(url)).expect("place");
    assert_eq!(place.read(6).await.expect("read"), "xxxxxx");
    server.join().expect("server");
}

#[tokio::test]
async fn a_store_that_fails_for_a_moment_is_asked_again() {
    let failing = answer("503 Service Unavailable", "", 0, "");
    let (url, server) = serve(vec![failing.clone(), failing, answer("200 OK", "", 4, "mask")]);
    assert_eq!(place(&url).read(4).await.expect("read"), "mask");
    assert_eq!(server.join().expect("server").len(), 3);
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_taken_up_where_it_was_cut() {
    // with an ETag object_store itself reads on, with a date we do
    for headers in [
        "ETag: \"1\"\r\n",
        "Last-Modified: Thu, 26 Nov 2026 07:00:00 GMT\r\n",
    ] {
        let rest = answer(
            "206 Partial Content",
            &format!("{headers}Content-Range: bytes 2-3/4\r\n"),
            2,
            "sk",
        );
        let (url, server) = serve(vec![answer("200 OK", headers, 4, "ma"), rest]);
        assert_eq!(place(&url).read(4).await.expect("read"), "mask");
        let requests = server.join().expect("server");
        assert!(
            requests[1].to_lowercase().ends_with("range: bytes=2-3"),
            "{requests:?}"
        );
    }
}

#[tokio::test]
async fn a_cut_body_of_an_object_without_identity_is_an_error() {
    let (url, server) = serve(vec![answer("200 OK", "", 4, "ma")]);
    assert!(place(&url).read(4).await.is_err());
    assert_eq!(server.join().expect("server").len(), 1);
}

#[tokio::test]
async fn a_web_server_is_neither_written_nor_listed() {
    // nobody listens: refused before any request
    let place = place("http://127.0.0.1:9/out");
    let bytes = Bytes::from_static(b"x");
    let large = Bytes::from(vec![0; PART + 1]);
    for refused in [
        place.put(bytes.clone()).await,
        place.put(large).await,
        place.create(bytes).await.map(drop),
        place.delete().await,
        place.list().await.map(drop),
    ] {
        let error = refused.expect_err("refused");
        assert!(error.to_string().contains("found an http URL"), "{error}");
        assert_eq!(error.into_fault().reason, "not_supported");
    }
}
