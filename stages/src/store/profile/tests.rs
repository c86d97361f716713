use super::*;

const CREDENTIALS: &str = "
# keys of the bench
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = se#cr;et/=+

[lab]
aws_access_key_id=AKLAB
aws_secret_access_key=labsecret
aws_session_token=labtoken

[half]
aws_access_key_id=AKHALF
";
const CONFIG: &str = "
[default]
region = eu-central-1
[profile lab]
region = eu-west-3
endpoint_url = https://all.example
services = local
s3 =
  addressing_style = path
[services local]
dynamodb =
  endpoint_url = https://dynamo.example
s3 =
  endpoint_url = https://s3.example
[profile sso]
sso_session = hospital
region = eu-west-1
[profile role]
role_arn = arn:aws:iam::1:role/x
aws_access_key_id = AKROLE
aws_secret_access_key = rolesecret
";

fn with(environment: &[(&str, &str)]) -> Result<Profile, StoreError> {
    let files = Files {
        credentials: Some(CREDENTIALS.to_owned()),
        config: Some(CONFIG.to_owned()),
    };
    of(&files, environment)
}

fn of(files: &Files, environment: &[(&str, &str)]) -> Result<Profile, StoreError> {
    profile(files, &|name| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn error(environment: &[(&str, &str)]) -> String {
    with(environment).err().expect("error").to_string()
}

#[test]
fn the_default_profile_gives_key_and_region() {
    let found = with(&[]).expect("profile");
    let credential = found.credential.expect("credential");
    assert_eq!(credential.key_id, "AKDEFAULT");
    // '#' and ';' belong to a value
    assert_eq!(credential.secret_key, "se#cr;et/=+");
    assert_eq!(credential.token, None);
    assert_eq!(found.region.as_deref(), Some("eu-central-1"));
    assert_eq!(found.endpoint, None);
}

#[test]
fn a_named_profile_gives_token_region_and_the_endpoint_of_its_service() {
    let found = with(&[("AWS_PROFILE", "lab")]).expect("profile");
    let credential = found.credential.expect("credential");
    assert_eq!(credential.token.as_deref(), Some("labtoken"));
    assert_eq!(found.region.as_deref(), Some("eu-west-3"));
    assert_eq!(found.endpoint.as_deref(), Some("https://s3.example"));
}

#[test]
fn the_environment_goes_before_the_profile() {
    let found = with(&[
        ("AWS_PROFILE", "lab"),
        ("AWS_ACCESS_KEY_ID", "AKENV"),
        ("AWS_REGION", "us-west-2"),
        ("AWS_ENDPOINT_URL", "https://env.example"),
    ])
    .expect("profile");
    assert!(found.credential.is_none() && found.region.is_none() && found.endpoint.is_none());
    let ignored = with(&[
        ("AWS_PROFILE", "lab"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
    ]);
    assert_eq!(ignored.expect("profile").endpoint, None);
}

#[test]
fn the_platforms_credentials_go_before_the_default_profile_but_not_before_a_named_one() {
    for (variable, value) in PLATFORM
        .map(|variable| (variable, "x"))
        .into_iter()
        .chain([("AWS_SKIP_SIGNATURE", "true")])
    {
        let found = with(&[(variable, value)]).expect("profile");
        assert!(found.credential.is_none(), "{variable}");
        assert_eq!(found.region.as_deref(), Some("eu-central-1"));
        let named = with(&[(variable, value), ("AWS_PROFILE", "lab")]).expect("profile");
        assert_eq!(named.credential.expect("credential").key_id, "AKLAB");
    }
}

#[test]
fn what_is_not_resolved_here_is_refused_with_the_remedy_and_without_secrets() {
    for (name, found) in [("sso", "sso_session"), ("role", "role_arn")] {
        let text = error(&[("AWS_PROFILE", name)]);
        assert!(text.contains(found), "{text}");
        assert!(text.contains(&format!("aws configure export-credentials --profile {name}")));
        assert!(!text.contains("rolesecret") && !text.contains("AKROLE"));
    }
    // exported keys beside the profile, as the remedy leaves them
    let exported = with(&[
        ("AWS_PROFILE", "sso"),
        ("AWS_ACCESS_KEY_ID", "A"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ]);
    assert_eq!(exported.expect("profile").region.as_deref(), Some("eu-west-1"));
    assert!(error(&[("AWS_PROFILE", "half")]).contains("found one of them"));
    assert!(error(&[("AWS_PROFILE", "nobody")]).contains("expected AWS profile nobody"));
}

#[test]
fn without_files_there_is_nothing_to_add() {
    let found = of(&Files::default(), &[]).expect("profile");
    assert!(found.credential.is_none() && found.region.is_none());
    let broken = Files {
        credentials: Some("[default\naws_secret_access_key = oops".to_owned()),
        config: None,
    };
    let text = of(&broken, &[]).err().expect("error").to_string();
    assert!(text.contains("expected an INI file") && !text.contains("oops"));
}

#[test]
fn files_lie_where_the_environment_says_else_at_home() {
    let home = || Some("/home/x".to_owned());
    assert_eq!(place(None, home(), "config"), Some("/home/x/.aws/config".into()));
    assert_eq!(
        place(Some("~/a".to_owned()), home(), "config"),
        Some("/home/x/a".into())
    );
    assert_eq!(place(Some("/a".to_owned()), None, "config"), Some("/a".into()));
    assert_eq!(place(None, None, "config"), None);
}
