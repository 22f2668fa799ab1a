use super::{Schema, Template};
use proptest::prelude::*;
use serde_json::{Value, json};

const SCHEMA: Schema = Schema {
    maps: &["Ports"],
    text_maps: &["Labels"],
    lists: &["Cmd", "Shell"],
    texts: &["User"],
    pointers: &["Healthcheck"],
    methods: &["Label"],
    durations: &["Interval"],
    ..Schema::NOTHING
};

fn document() -> Value {
    json!({
        "Id": "sha256:abcdef", "Os": "linux", "Size": 1234, "Half": 0.5, "Big": 1e21, "On": true, "Off": false,
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"l": "v", "x y": "z w"}, "Cmd": null, "Entrypoint": ["e", "f"]},
        "Ports": {"80/tcp": [{"HostPort": "8080"}], "90/tcp": null},
        "Mounts": [{"Type": "bind", "Destination": "/m", "RW": false}, {"Type": "volume", "Destination": "/v", "RW": true}],
        "Label": {"k": "w"}, "Nothing": null, "Numbers": [3, 1, 2]
    })
}

fn check(template: &str, expected: &str) {
    let rendered = Template::parse(template).and_then(|t| t.render(&document(), &SCHEMA));
    assert_eq!(rendered.as_deref(), Ok(expected), "{template}");
}

fn refuse(template: &str, expected: &str) {
    let rendered = Template::parse(template).and_then(|t| t.render(&document(), &SCHEMA));
    let error = rendered.expect_err(template).to_string();
    assert_eq!(error, expected, "{template}");
}

#[test]
fn text_and_fields() {
    check("", "");
    check("plain", "plain");
    check("{{.Id}}|{{.Config.Env}}", "sha256:abcdef|[A=1 B=2]");
    check("{{ .Size }} {{.Half}} {{.On}} {{.Big}}", "1234 0.5 true 1e+21");
    check("{{.Config.Labels}}", "map[l:v x y:z w]");
    check("{{.Config.Labels.l}} {{.Config.Labels.none}}", "v <no value>");
    check("{{.Config.Labels.none.more}}", "<no value>");
    check("{{.Nothing}}", "<nil>");
    check("{{.Config}}|{{index .Mounts 0}}", "{[A=1 B=2] map[l:v x y:z w] [] [e f]}|{bind /m false}");
    check("{{(index .Mounts 0).Destination}}", "/m");
    check(
        "{{index .Config.Labels \"no\"}}|{{.Config.Labels.no}}|{{index .Ports \"1/tcp\"}}",
        "|<no value>|<no value>",
    );
    check("{{.Label \"k\"}}{{.Label \"none\"}}.", "w.");
    check("{{with .Config}}{{$.Id}}{{end}}", "sha256:abcdef");
}

#[test]
fn fields_that_json_leaves_out() {
    check("[{{.Config.User}}]{{.Config.Cmd}}{{.Config.Shell}}{{.Config.Healthcheck}}", "[][][]<nil>");
    check("{{json .Config.Cmd}} {{len .Config.Cmd}}{{range .Config.Shell}}x{{end}}", "null 0");
}

#[test]
fn trimming_and_comments() {
    check("a  {{- 1 -}}  b", "a1b");
    check("a {{/* no */}} b", "a  b");
    check("a {{- /* no */ -}} b", "ab");
    check("a {{1 -}} \n\t b", "a 1b");
    check("{{- 3}}", "3");
    check("{{-3}}", "-3");
}

#[test]
fn conditions() {
    check("{{if .On}}a{{else}}b{{end}}", "a");
    check("{{if .Off}}a{{else if .Size}}b{{else}}c{{end}}", "b");
    check("{{if and .On .Off}}a{{end}}{{if or .Off .On}}b{{end}}{{if not .Off}}c{{end}}", "bc");
    check("{{with .Nothing}}a{{else}}b{{end}}", "b");
    check("{{with .Nothing}}a{{else with .Os}}{{.}}{{end}}", "linux");
    check("{{and 1 0 2}} {{or 0 \"\" 7}}", "0 7");
    check("{{or .On (index .Numbers 99)}}{{and .Off (index .Numbers 99)}}", "truefalse");
}

#[test]
fn ranges() {
    check("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n");
    check("{{range $i, $v := .Config.Env}}{{$i}}={{$v}};{{end}}", "0=A=1;1=B=2;");
    check(
        "{{range $p, $b := .Ports}}{{$p}}{{if $b}}->{{(index $b 0).HostPort}}{{end}} {{end}}",
        "80/tcp->8080 90/tcp ",
    );
    check("{{range .Nothing}}a{{else}}none{{end}}", "none");
    check("{{range .Numbers}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "32");
    check("{{range .Numbers}}{{if eq . 1}}{{break}}{{end}}{{.}}{{end}}", "3");
    check("{{$x := 0}}{{range .Numbers}}{{$x = .}}{{end}}{{$x}}", "2");
    check("{{range .Mounts}}{{if eq .Type \"bind\"}}{{.Destination}} {{.RW}}{{end}}{{end}}", "/m false");
    check("{{range 3}}{{.}}{{end}}", "012");
}

#[test]
fn templates() {
    check("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Os}}", "<linux>");
    check("{{block \"b\" .Size}}[{{.}}]{{end}}", "[1234]");
    check("{{define \"t\"}}{{.}}{{end}}{{template \"t\"}}", "<no value>");
}

#[test]
fn comparisons() {
    check(
        "{{eq 1 2 1}} {{ne .Os \"x\"}} {{lt 1 2}} {{ge 2 2}} {{gt \"b\" \"a\"}} {{le 3 2}}",
        "true true true true true false",
    );
    check("{{eq .Nothing nil}}", "true");
    refuse(
        "{{eq 1 \"a\"}}",
        "template: :1:2: executing \"\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison",
    );
}

#[test]
fn lengths_of_time() {
    for (nanoseconds, expected) in [
        ("0", "0s"),
        ("5000000000", "5s"),
        ("90500000000", "1m30.5s"),
        ("3600000000000", "1h0m0s"),
        ("20000000", "20ms"),
        ("1500", "1.5µs"),
        ("7", "7ns"),
        ("-1000000000", "-1s"),
    ] {
        let dot: Value = serde_json::from_str(&format!("{{\"Interval\":{nanoseconds}}}")).expect("JSON");
        let shown = Template::parse("{{.Interval}}").expect("parses").render(&dot, &SCHEMA);
        assert_eq!(shown.as_deref(), Ok(expected));
        let json = Template::parse("{{json .Interval}}").expect("parses").render(&dot, &SCHEMA);
        assert_eq!(json.as_deref(), Ok(nanoseconds));
    }
}

#[test]
fn functions() {
    check(r#"{{js "a'<b>\"="}}"#, r#"a\'\u003Cb\u003E\"\u003D"#);
    check("{{len .Os}}{{len .Config.Labels}}{{len .Mounts}}", "522");
    check("{{index .Config.Labels \"x y\"}} {{index .Config.Env 1}}", "z w B=2");
    check("{{slice .Id 0 7}} {{slice .Numbers 1}}", "sha256: [1 2]");
    check(
        "{{json .Config.Labels}} {{json .Os}} {{.Mounts | json}}",
        "{\"l\":\"v\",\"x y\":\"z w\"} \"linux\" [{\"Type\":\"bind\",\"Destination\":\"/m\",\"RW\":false},{\"Type\":\"volume\",\"Destination\":\"/v\",\"RW\":true}]",
    );
    check("{{upper .Os}} {{lower \"AbC\"}} {{title \"ab cd-ef\"}}", "LINUX abc Ab Cd-Ef");
    check(
        "{{join .Config.Entrypoint \"+\"}} {{split \"a,b\" \",\"}} {{truncate .Id 3}}|{{pad \"x\" 1 2}}|",
        "e+f [a b] sha| x  |",
    );
    check("{{print 1 2 \"a\" 3}}|{{println 1 \"a\"}}", "1 2a3|1 a\n");
    check("{{html \"<a>\"}} {{urlquery \"a b&\"}}", "&lt;a&gt; a+b%26");
}

#[test]
fn printf() {
    check(
        "{{printf \"%.3s|%5d|%-4s|%04d|%q|%v|%t|%x|%%\" .Os 42 \"a\" 7 \"q\\\"\" .Numbers true 255}}",
        "lin|   42|a   |0007|\"q\\\"\"|[3 1 2]|true|ff|%",
    );
    check("{{printf \"%d %s\" \"a\" 1}}", "%!d(string=a) %!s(int=1)");
    check(
        "{{printf \"%d\"}} {{printf \"a\" 1}} {{printf \"%.2f %e\" 0.5 1500.0}}",
        "%!d(MISSING) a%!(EXTRA int=1) 0.50 1.500000e+03",
    );
    check("{{\"x\" | printf \"%s-%s\" \"a\"}}", "a-x");
    check("{{printf \"%c%U\" 'a' 0x1F}}", "aU+001F");
}

#[test]
fn faults_of_syntax() {
    refuse("{{", "template: :1: unclosed action");
    refuse("{{.Client.No", "template: :1: unclosed action");
    refuse("a\n{{frob .}}", "template: :2: function \"frob\" not defined");
    refuse("{{.No.Such}}{{", "template: :1: unclosed action");
    refuse("{{if .On}}", "template: :1: unexpected EOF");
    refuse("{{end}}", "template: :1: unexpected {{end}}");
    refuse("{{$x}}", "template: :1: undefined variable \"$x\"");
    refuse("{{}}", "template: :1: missing value for command");
    refuse("{{break}}", "template: :1: {{break}} outside {{range}}");
    refuse("{{\"a}}", "template: :1: unterminated quoted string");
    refuse("{{(1}}", "template: :1: unclosed left paren");
    refuse("{{1 | 2}}", "template: :1: non executable command in pipeline stage 2");
    refuse("{{/* a", "template: :1: unclosed comment");
}

#[test]
fn faults_of_execution() {
    refuse("{{.No}}", "template: :1:2: executing \"\" at <.No>: map has no entry for key \"No\"");
    refuse(
        "\n {{.Config.No}}",
        "template: :2:10: executing \"\" at <.Config.No>: map has no entry for key \"No\"",
    );
    refuse(
        "{{.Os.No}}",
        "template: :1:5: executing \"\" at <.Os.No>: can't evaluate field No in type string",
    );
    refuse(
        "{{index .Config.Env 9}}",
        "template: :1:2: executing \"\" at <index .Config.Env 9>: error calling index: index out of range: 9",
    );
    refuse(
        "{{template \"none\"}}",
        "template: :1:11: executing \"\" at <{{template \"none\"}}>: template \"none\" not defined",
    );
    refuse(
        "{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}",
        "template: :1:25: executing \"\" at <{{template \"t\"}}>: exceeded maximum template depth (200)",
    );
}

proptest! {
    #[test]
    fn nothing_panics(source in "[{}a-z.$ |()\"`:=,0-9\\-]{0,60}") {
        let _ = Template::parse(&source).and_then(|t| t.render(&document(), &SCHEMA));
    }

    #[test]
    fn no_action_panics(words in prop::collection::vec(
        prop::sample::select(vec!["if", "else", "end", "range", "with", "define", "template", "block", "\"t\"", ".", ".Os",
            ".Config.Env", ".Ports", "$", "$x", ":=", "=", ",", "|", "(", ")", "eq", "index", "slice", "printf", "len", "1",
            "-1", "1.5", "'a'", "nil", "true", "join", "truncate", "pad", "}}{{", "}}text{{", "break", "- }}"]), 0..24)) {
        let source = format!("{{{{{}}}}}", words.join(" "));
        let _ = Template::parse(&source).and_then(|t| t.render(&document(), &SCHEMA));
    }

    #[test]
    fn text_without_actions_stays(source in "[^{]{0,40}") {
        let rendered = Template::parse(&source).and_then(|t| t.render(&Value::Null, &Schema::default()));
        prop_assert_eq!(rendered, Ok(source));
    }
}
