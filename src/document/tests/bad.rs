//! Bad input and its diagnostics, from the point of view of the person who has to fix it.

use super::told;

struct Case {
    about: &'static str,
    file: &'static str,
    source: &'static str,
    told: &'static str,
}

#[test]
fn bad_input_is_told_with_its_place_and_what_to_do() {
    for case in CASES {
        assert_eq!(told(case.file, case.source), case.told, "{}", case.about);
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case {
        about: "an alias without an anchor",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata: {name: *nobody}
"#,
        told: r#"error[yaml-syntax]: the alias `*nobody` has no anchor before it
 --> a.yaml:3:18
  |
3 | metadata: {name: *nobody}
  |                  ^^^^^^^
  |
  = help: mark the value it stands for with `&nobody`, or put it in quotes"#,
    },
    Case {
        about: "an alias inside of its own anchor",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
spec: &loop
  again: *loop
"#,
        told: r#"error[alias-expansion]: this alias stands inside what it stands for
 --> a.yaml:4:10
  |
4 |   again: *loop
  |          ^^^^^"#,
    },
    Case {
        about: "a tab as indentation",
        file: "a.yaml",
        source: "apiVersion: v1\nkind: Pod\nmetadata:\n\tname: web\n",
        told: r#"error[yaml-syntax]: a tab cannot indent YAML
 --> a.yaml:4:2
  |
4 |     name: web
  |     ^
  |
  = help: use spaces"#,
    },
    Case {
        about: "a bracket that is never closed",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
spec:
  ports: [80, 443
"#,
        told: r#"error[yaml-syntax]: unclosed bracket `[`
 --> a.yaml:4:10
  |
4 |   ports: [80, 443
  |          ^"#,
    },
    Case {
        about: "a quote that is never closed",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: "web
"#,
        told: r#"error[yaml-syntax]: this quote is not closed on its line
 --> a.yaml:4:13
  |
4 |   name: "web
  |             ^
  |
  = help: close it, or indent the lines that continue it"#,
    },
    Case {
        about: "wrong indentation",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
    name: web
  labels: {}
"#,
        told: r#"error[yaml-syntax]: this is no key of the mapping above it
 --> a.yaml:5:3
  |
5 |   labels: {}
  |   ^
  |
  = help: indent it like its neighbours"#,
    },
    Case {
        about: "a second colon",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web: front
"#,
        told: r#"error[yaml-syntax]: a second `: ` on one line
 --> a.yaml:4:12
  |
4 |   name: web: front
  |            ^
  |
  = help: put the text in quotes, or the pair on a line of its own"#,
    },
    Case {
        about: "a key twice",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
kind: Node
"#,
        told: r#"error[duplicate-field]: `kind` is here twice
 --> a.yaml:5:1
  |
5 | kind: Node
  | ^^^^ again
  |
 ::: a.yaml:2:1
  |
2 | kind: Pod
  | ---- first here"#,
    },
    Case {
        about: "a label twice",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app: web
    tier: front
    app: db
"#,
        told: r#"error[duplicate-field]: `app` is here twice
 --> a.yaml:8:5
  |
8 |     app: db
  |     ^^^ again
  |
 ::: a.yaml:6:5
  |
6 |     app: web
  |     --- first here"#,
    },
    Case {
        about: "a label twice, in JSON",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web", "app": "db"}}}
"#,
        told: r#"error[duplicate-field]: `app` is here twice
 --> a.json:1:90
  |
1 | {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web", "app": "db"}}}
  |                                                                                          ^^^^^ again
  |
 ::: a.json:1:76
  |
1 | {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web", "app": "db"}}}
  |                                                                            ----- first here"#,
    },
    Case {
        about: "a policy field twice, in JSON, once with an escape",
        file: "a.json",
        source: r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
 "metadata": {"name": "web"},
 "spec": {"podSelector": {}, "pod\u0053elector": null}}
"#,
        told: r#"error[duplicate-field]: `podSelector` is here twice
 --> a.json:3:30
  |
3 |  "spec": {"podSelector": {}, "pod\u0053elector": null}}
  |                              ^^^^^^^^^^^^^^^^^^ again
  |
 ::: a.json:3:11
  |
3 |  "spec": {"podSelector": {}, "pod\u0053elector": null}}
  |           ------------- first here"#,
    },
    Case {
        about: "a key before the merge key that brings it too",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  annotations: &base {app: web}
  name: web
  labels:
    app: db
    <<: *base
"#,
        told: r#"error[duplicate-field]: `app` is here and in the mapping that `<<` merges
 --> a.yaml:7:5
  |
7 |     app: db
  |     ^^^
  |
 ::: a.yaml:8:5
  |
8 |     <<: *base
  |     -- merged here
  |
  = help: YAML readers disagree about which one counts: put `<<` first, so that the mapping's own keys win"#,
    },
    Case {
        about: "a merge key with text",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    <<: base
"#,
        told: r#"error[wrong-type]: expected a mapping or a list of mappings, found a string
 --> a.yaml:6:9
  |
6 |     <<: base
  |         ^^^^"#,
    },
    Case {
        about: "two merge keys",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    <<: {a: b}
    <<: {c: d}
"#,
        told: r#"error[duplicate-field]: `<<` is here twice
 --> a.yaml:7:5
  |
7 |     <<: {c: d}
  |     ^^ again
  |
 ::: a.yaml:6:5
  |
6 |     <<: {a: b}
  |     -- first here
  |
  = help: one `<<` takes a list of mappings"#,
    },
    Case {
        about: "yes without quotes",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    public: yes
"#,
        told: r#"error[wrong-type]: expected a string, found a word that YAML readers disagree about
 --> a.yaml:6:13
  |
6 |     public: yes
  |             ^^^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "yes for a boolean",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  hostNetwork: yes
"#,
        told: r#"error[wrong-type]: expected a boolean, found a word that YAML readers disagree about
 --> a.yaml:6:16
  |
6 |   hostNetwork: yes
  |                ^^^
  |
  = help: write `true` or `false`"#,
    },
    Case {
        about: "on as a key",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    on: "1"
"#,
        told: r#"error[wrong-type]: expected a string as the key, found a word that YAML readers disagree about
 --> a.yaml:6:5
  |
6 |     on: "1"
  |     ^^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a fraction as a key",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    1.10: "1"
"#,
        told: r#"error[wrong-type]: expected a string as the key, found a number
 --> a.yaml:6:5
  |
6 |     1.10: "1"
  |     ^^^^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a port range that is a number in base 60",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    ports: 80:50
"#,
        told: r#"error[wrong-type]: expected a string, found a word that YAML readers disagree about
 --> a.yaml:6:12
  |
6 |     ports: 80:50
  |            ^^^^^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a number where a string belongs",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    version: 2
"#,
        told: r#"error[wrong-type]: expected a string, found a number
 --> a.yaml:6:14
  |
6 |     version: 2
  |              ^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a number where a string belongs, in JSON",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "Pod",
 "metadata": {"name": "web", "labels": {"version": 2}}}
"#,
        told: r#"error[wrong-type]: expected a string, found a number
 --> a.json:2:52
  |
2 |  "metadata": {"name": "web", "labels": {"version": 2}}}
  |                                                    ^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a string where a number belongs",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  ports: [80, http]
"#,
        told: r#"error[wrong-type]: expected a whole number, found a string
 --> a.yaml:6:15
  |
6 |   ports: [80, http]
  |               ^^^^"#,
    },
    Case {
        about: "a number that is too large",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  ports:
  - 70000
"#,
        told: r#"error[invalid-value]: `70000` is not a whole number from 0 to 65535
 --> a.yaml:7:5
  |
7 |   - 70000
  |     ^^^^^"#,
    },
    Case {
        about: "a number that is too large, in JSON",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"ports": [70000]}}
"#,
        told: r#"error[invalid-value]: `70000` is not a whole number from 0 to 65535
 --> a.json:1:85
  |
1 | {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"ports": [70000]}}
  |                                                                                     ^^^^^"#,
    },
    Case {
        about: "an octal number",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  ports: [0123]
"#,
        told: r#"error[wrong-type]: expected a whole number, found a word that YAML readers disagree about
 --> a.yaml:6:11
  |
6 |   ports: [0123]
  |           ^^^^
  |
  = help: write it as a decimal number, or in quotes if it is text"#,
    },
    Case {
        about: "a list where a mapping belongs",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
- name: web
"#,
        told: r#"error[wrong-type]: expected a mapping, found a list
 --> a.yaml:4:3
  |
4 | - name: web
  |   ^^^^^^^^^"#,
    },
    Case {
        about: "an unknown word",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {phase: Runing}
"#,
        told: r#"error[invalid-value]: `Runing` is none of `Failed`, `Running`
 --> a.yaml:4:15
  |
4 | spec: {phase: Runing}
  |               ^^^^^^
  |
  = help: did you mean `Running`?"#,
    },
    Case {
        about: "a field that is missing",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  namespace: prod
"#,
        told: r#"error[missing-field]: `name` is missing
 --> a.yaml:4:3
  |
4 |   namespace: prod
  |   ^^^^^^^^^^^^^^^"#,
    },
    Case {
        about: "a field that is missing, in JSON",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "prod"}}
"#,
        told: r#"error[missing-field]: `name` is missing
 --> a.json:1:49
  |
1 | {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "prod"}}
  |                                                 ^^^^^^^^^^^^^^^^^^^^^"#,
    },
    Case {
        about: "a tag that is not JSON's",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: !!binary d2Vi
"#,
        told: r#"error[yaml-syntax]: the tag `!!binary` does not fit here
 --> a.yaml:4:18
  |
4 |   name: !!binary d2Vi
  |                  ^^^^
  |
  = help: write the value without a tag; Kubernetes knows strings, numbers, booleans and null"#,
    },
    Case {
        about: "a tag that does not fit",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: !!int web
"#,
        told: r#"error[yaml-syntax]: the tag `!!int` does not fit here
 --> a.yaml:4:15
  |
4 |   name: !!int web
  |               ^^^
  |
  = help: write the value without a tag; Kubernetes knows strings, numbers, booleans and null"#,
    },
    Case {
        about: "a directive",
        file: "a.yaml",
        source: r#"%YAML 1.2
---
apiVersion: v1
kind: Pod
metadata: {name: web}
"#,
        told: r#"error[yaml-syntax]: directives are not read
 --> a.yaml:1:1
  |
1 | %YAML 1.2
  | ^
  |
  = help: remove the line, and the rest reads the same"#,
    },
    Case {
        about: "an empty file",
        file: "a.yaml",
        source: "",
        told: r#"error[no-objects]: there is no object in this file
 --> a.yaml:1:1
  |
1 |
  | ^
  |
  = help: an empty file can be a failed command's output; leave it out if nothing is missing"#,
    },
    Case {
        about: "an empty file called JSON",
        file: "a.json",
        source: "",
        told: r#"error[no-objects]: there is no object in this file
 --> a.json:1:1
  |
1 |
  | ^
  |
  = help: an empty file can be a failed command's output; leave it out if nothing is missing"#,
    },
    Case {
        about: "comments only",
        file: "a.yaml",
        source: r#"# nothing
---
# at all
"#,
        told: r#"error[no-objects]: there is no object in this file
 --> a.yaml:1:1
  |
1 | # nothing
  | ^
  |
  = help: an empty file can be a failed command's output; leave it out if nothing is missing"#,
    },
    Case {
        about: "null documents",
        file: "a.yaml",
        source: r#"null
---
~
"#,
        told: r#"error[no-objects]: there is no object in this file
 --> a.yaml:1:1
  |
1 | null
  | ^
  |
  = help: an empty file can be a failed command's output; leave it out if nothing is missing"#,
    },
    Case {
        about: "a document that is text",
        file: "a.yaml",
        source: r#"No resources found in default namespace.
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, found a string
 --> a.yaml:1:1
  |
1 | No resources found in default namespace.
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"#,
    },
    Case {
        about: "an error message in place of a manifest",
        file: "a.yaml",
        source: r#"Error from server (NotFound): pods "web" not found
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, but `apiVersion` and `kind` are missing
 --> a.yaml:1:1
  |
1 | Error from server (NotFound): pods "web" not found
  | ^"#,
    },
    Case {
        about: "a document that is a list",
        file: "a.yaml",
        source: r#"- apiVersion: v1
  kind: Pod
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, found a list
 --> a.yaml:1:1
  |
1 | - apiVersion: v1
  | ^^^^^^^^^^^^^^^^
  |
  = help: give the objects one by one, or as the `items` of an object of kind `List`"#,
    },
    Case {
        about: "a JSON list",
        file: "a.json",
        source: r#"[{"apiVersion": "v1", "kind": "Pod"}]
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, found a list
 --> a.json:1:1
  |
1 | [{"apiVersion": "v1", "kind": "Pod"}]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: give the objects one by one, or as the `items` of an object of kind `List`"#,
    },
    Case {
        about: "no kind",
        file: "a.yaml",
        source: r#"apiVersion: v1
metadata:
  name: web
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, but `kind` is missing
 --> a.yaml:1:1
  |
1 | apiVersion: v1
  | ^"#,
    },
    Case {
        about: "neither kind nor version",
        file: "a.yaml",
        source: r#"---
replicas: 3
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, but `apiVersion` and `kind` are missing
 --> a.yaml:2:1
  |
2 | replicas: 3
  | ^"#,
    },
    Case {
        about: "a kind that is a number",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: 3
"#,
        told: r#"error[wrong-type]: expected a string, found a number
 --> a.yaml:2:7
  |
2 | kind: 3
  |       ^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "an API version with too many parts",
        file: "a.yaml",
        source: r#"apiVersion: a/b/c
kind: Pod
"#,
        told: r#"error[not-an-object]: `a/b/c` is not an API version
 --> a.yaml:1:13
  |
1 | apiVersion: a/b/c
  |             ^^^^^"#,
    },
    Case {
        about: "a misspelt policy kind",
        file: "a.yaml",
        source: r#"apiVersion: projectcalico.org/v3
kind: NetworkPolicies
"#,
        told: r#"error[unsupported-kind]: the API group `projectcalico.org` has no kind `NetworkPolicies` that Palisade knows
 --> a.yaml:2:7
  |
2 | kind: NetworkPolicies
  |       ^^^^^^^^^^^^^^^
  |
  = help: did you mean `NetworkPolicy`?"#,
    },
    Case {
        about: "a misspelt kind of the inventory",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: namespaces
"#,
        told: r#"error[unsupported-kind]: the core API group has no kind `namespaces` that Palisade knows
 --> a.yaml:2:7
  |
2 | kind: namespaces
  |       ^^^^^^^^^^
  |
  = help: did you mean `Namespace`?"#,
    },
    Case {
        about: "an unknown policy kind",
        file: "a.yaml",
        source: r#"apiVersion: projectcalico.org/v3
kind: SecurityEventWebhook
"#,
        told: r#"error[unsupported-kind]: the API group `projectcalico.org` has no kind `SecurityEventWebhook` that Palisade knows
 --> a.yaml:2:7
  |
2 | kind: SecurityEventWebhook
  |       ^^^^^^^^^^^^^^^^^^^^
  |
  = help: Palisade refuses policy that it does not enforce"#,
    },
    Case {
        about: "an old policy group",
        file: "a.yaml",
        source: r#"apiVersion: extensions/v1beta1
kind: NetworkPolicy
"#,
        told: r#"error[unsupported-kind]: `NetworkPolicy` of the API group `extensions` is not supported
 --> a.yaml:1:13
  |
1 | apiVersion: extensions/v1beta1
  |             ^^^^^^^^^^^^^^^^^^
  |
  = help: supported: `projectcalico.org/v3`, `networking.k8s.io/v1`"#,
    },
    Case {
        about: "a misspelt policy group",
        file: "a.yaml",
        source: r#"apiVersion: projectcalico.com/v3
kind: GlobalNetworkPolicy
"#,
        told: r#"error[unsupported-kind]: `GlobalNetworkPolicy` of the API group `projectcalico.com` is not supported
 --> a.yaml:1:13
  |
1 | apiVersion: projectcalico.com/v3
  |             ^^^^^^^^^^^^^^^^^^^^
  |
  = help: supported: `projectcalico.org/v3`"#,
    },
    Case {
        about: "another version",
        file: "a.yaml",
        source: r#"apiVersion: projectcalico.org/v2
kind: NetworkPolicy
"#,
        told: r#"error[unsupported-kind]: version `v2` of `NetworkPolicy` is not supported
 --> a.yaml:1:13
  |
1 | apiVersion: projectcalico.org/v2
  |             ^^^^^^^^^^^^^^^^^^^^
  |
  = help: supported: `projectcalico.org/v3`"#,
    },
    Case {
        about: "another version of the inventory",
        file: "a.yaml",
        source: r#"apiVersion: v2
kind: Pod
"#,
        told: r#"error[unsupported-kind]: version `v2` of `Pod` is not supported
 --> a.yaml:1:13
  |
1 | apiVersion: v2
  |             ^^
  |
  = help: supported: `v1`"#,
    },
    Case {
        about: "a Helm template",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata:
  name: {{ .Values.name }}
"#,
        told: r#"error[wrong-type]: expected a string as the key, found a mapping
 --> a.yaml:4:10
  |
4 |   name: {{ .Values.name }}
  |          ^^^^^^^^^^^^^^^^
  |
  = help: this looks like a Helm template: render it with `helm template` and give the result"#,
    },
    Case {
        about: "a Helm template's condition",
        file: "a.yaml",
        source: r#"{{- if .Values.policy }}
apiVersion: v1
kind: Pod
{{- end }}
"#,
        told: r#"error[yaml-syntax]: "-" is only valid inside a block
 --> a.yaml:1:3
  |
1 | {{- if .Values.policy }}
  |   ^
  |
  = help: this looks like a Helm template: render it with `helm template` and give the result"#,
    },
    Case {
        about: "a NUL byte",
        file: "a.yaml",
        source: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: w\0b\n",
        told: r#"error[yaml-syntax]: unexpected character: `\u{0}`
 --> a.yaml:4:10
  |
4 |   name: w␀b
  |          ^"#,
    },
    Case {
        about: "a NUL byte in JSON",
        file: "a.json",
        source: "{\"apiVersion\": \"v1\0\", \"kind\": \"Pod\"}\n",
        told: r#"error[json-syntax]: control character (\u0000-\u001F) found while parsing a string
 --> a.json:1:18
  |
1 | {"apiVersion": "v1␀", "kind": "Pod"}
  |                  ^"#,
    },
    Case {
        about: "CRLF line endings",
        file: "a.yaml",
        source: "apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: web\r\n  labels:\r\n    version: 2\r\n",
        told: r#"error[wrong-type]: expected a string, found a number
 --> a.yaml:6:14
  |
6 |     version: 2
  |              ^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a byte order mark",
        file: "a.yaml",
        source: "\u{feff}kind: 3\n",
        told: "error[not-an-object]: expected a Kubernetes object, but `apiVersion` is missing\n --> a.yaml:1:2\n  |\n1 | \u{fffd}kind: 3\n  |  ^\nerror[wrong-type]: expected a string, found a number\n --> a.yaml:1:8\n  |\n1 | \u{fffd}kind: 3\n  |        ^\n  |\n  = help: put it in quotes",
    },
    Case {
        about: "letters of several bytes before the place",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata: {name: "ünï©ødé", labels: {größe: 日本, "größe": 2}}
"#,
        told: r#"error[duplicate-field]: `größe` is here twice
 --> a.yaml:3:49
  |
3 | metadata: {name: "ünï©ødé", labels: {größe: 日本, "größe": 2}}
  |                                                   ^^^^^^^ again
  |
 ::: a.yaml:3:38
  |
3 | metadata: {name: "ünï©ødé", labels: {größe: 日本, "größe": 2}}
  |                                      ----- first here"#,
    },
    Case {
        about: "a JSON trailing comma",
        file: "a.json",
        source: r#"{"apiVersion": "v1",
 "kind": "Pod",
}
"#,
        told: r#"error[json-syntax]: expected a key in double quotes
 --> a.json:3:1
  |
3 | }
  | ^
  |
  = help: JSON has no comma after the last item; a file whose name ends in `.json` is read as JSON"#,
    },
    Case {
        about: "JSON cut short",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {
"#,
        told: r#"error[json-syntax]: the text ends inside of an object
 --> a.json:1:50
  |
1 | {"apiVersion": "v1", "kind": "Pod", "metadata": {
  |                                                  ^
  |
  = help: the file may have been cut short"#,
    },
    Case {
        about: "half a surrogate pair",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\ud800"}}
"#,
        told: r#"error[json-syntax]: unexpected end of hex escape
 --> a.json:1:65
  |
1 | {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\ud800"}}
  |                                                                 ^"#,
    },
    Case {
        about: "a syntax error in one of three documents",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: Pod
metadata: {name: 1}
---
]
---
apiVersion: v1
kind: Pod
metadata: {name: 2}
"#,
        told: r#"error[wrong-type]: expected a string, found a number
 --> a.yaml:3:18
  |
3 | metadata: {name: 1}
  |                  ^
  |
  = help: put it in quotes
error[yaml-syntax]: misplaced bracket
 --> a.yaml:5:1
  |
5 | ]
  | ^
error[wrong-type]: expected a string, found a number
 --> a.yaml:9:18
  |
9 | metadata: {name: 2}
  |                  ^
  |
  = help: put it in quotes"#,
    },
    Case {
        about: "a list item that is no object",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: List
items:
- web
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, found a string
 --> a.yaml:4:3
  |
4 | - web
  |   ^^^"#,
    },
    Case {
        about: "a list item without a kind",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"metadata": {"name": "web"}}
]}
"#,
        told: r#"error[not-an-object]: expected a Kubernetes object, but `kind` is missing
 --> a.json:2:3
  |
2 |   {"metadata": {"name": "web"}}
  |   ^"#,
    },
    Case {
        about: "a list without items",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: List
item: []
"#,
        told: r#"error[missing-field]: this list has no `items` that are a list
 --> a.yaml:2:7
  |
2 | kind: List
  |       ^^^^
error[unknown-field]: unknown field `item` of a list
 --> a.yaml:3:1
  |
3 | item: []
  | ^^^^
  |
  = help: did you mean `items`?"#,
    },
    Case {
        about: "a list that was cut off by a limit",
        file: "a.json",
        source: r#"{"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": "eyJ2"}, "items": []}
"#,
        told: r#"error[incomplete-list]: this list is only the first part of a longer one
 --> a.json:1:66
  |
1 | {"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": "eyJ2"}, "items": []}
  |                                                                  ^^^^^^
  |
  = help: fetch it without a limit"#,
    },
    Case {
        about: "kinds that say nothing about policy",
        file: "a.yaml",
        source: r#"apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: ControllerRevision}
- {apiVersion: v1, kind: Service}
- {apiVersion: projectcalico.org/v3, kind: IPPool}
- {apiVersion: networking.k8s.io/v1beta1, kind: Ingress}
- {apiVersion: apps/v1, kind: ControllerRevision}
"#,
        told: "note[skipped-kinds]: skipped 2 ControllerRevision, 1 IPPool, 1 Ingress, 1 Service: Palisade does not read these kinds",
    },
];
