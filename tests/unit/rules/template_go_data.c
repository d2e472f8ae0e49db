/*
 * template_go_data.c: templates and what Go makes of them: expansions and load errors of
 * `promtool test rules` and `promtool check rules` 2.42, recorded over the values of
 * test_template_go.c. An expansion that begins with `!` is an error, without what all have in
 * common.
 */

static const struct {
    const char *text;
    double value;
    const char *wanted;
} expansions[] = {
    {"{{ $value }}", 1234567, "1.234567e+06"},
    {"{{ $value }}", 1e20, "1e+20"},
    {"{{ $value }}", 123456, "123456"},
    {"{{ $value }}", 1e21, "1e+21"},
    {"{{ $value }}", 0.00001, "1e-05"},
    {"{{ $value }}", NAN, "NaN"},
    {"{{ $value }}", INFINITY, "+Inf"},
    {"{{ $labels.missing }}|", 1234567, "|"},
    {"{{ .Labels.missing }}|", 1234567, "|"},
    {"{{ $labels }}", 1234567, "map[instance:host.example.com:9100 job:api sev:a<b&c\"d]"},
    {"{{ . }}", 1234567,
     "{map[instance:host.example.com:9100 job:api sev:a<b&c\"d] map[region:eu zone:z1] "
     "http://prom.example:9090/path 1.234567e+06}"},
    {"{{ $ }}", 1234567,
     "{map[instance:host.example.com:9100 job:api sev:a<b&c\"d] map[region:eu zone:z1] "
     "http://prom.example:9090/path 1.234567e+06}"},
    {"{{ .Value.Foo }}", 1234567,
     "!1:121: executing \"__alert_A\" at <.Value.Foo>: can't evaluate field Foo in type float64"},
    {"{{ $value.Foo }}", 1234567,
     "!1:121: executing \"__alert_A\" at <$value.Foo>: can't evaluate field Foo in type float64"},
    {"{{ .Foo }}", 1234567,
     "!1:115: executing \"__alert_A\" at <.Foo>: can't evaluate field Foo in type struct { Labels "
     "map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }"},
    {"{{ $labels.job.x }}", 1234567,
     "!1:122: executing \"__alert_A\" at <$labels.job.x>: can't evaluate field x in type string"},
    {"{{ $labels.missing.x }}", 1234567,
     "!1:122: executing \"__alert_A\" at <$labels.missing.x>: can't evaluate field x in type "
     "string"},
    {"{{ printf \"%T\" $labels }}", 1234567, "map[string]string"},
    {"{{ printf \"%T\" . }}", 1234567,
     "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; "
     "Value float64 }"},
    {"{{ range $k, $v := $labels }}{{ $k }}={{ $v }} {{ end }}", 1234567,
     "instance=host.example.com:9100 job=api sev=a<b&c\"d "},
    {"{{ query \"nope\" | first }}", 1234567,
     "!1:130: executing \"__alert_A\" at <first>: error calling first: first() called on vector "
     "with no elements"},
    {"{{ query \"nope{\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <query \"nope{\">: error calling query: 1:6: parse error: "
     "unexpected end of input inside braces"},
    {"{{ query \"q\" | sortByLabel \"idx\" | first | label \"idx\" }}", 1234567, "1"},
    {"{{ query \"q\" | sortByLabel \"job\" | first | label \"job\" }}", 1234567, "a"},
    {"{{ with query \"nope\" }}x{{ else }}none{{ end }}", 1234567, "none"},
    {"{{ eq 1 1.0 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq 1 1.0>: error calling eq: incompatible types for "
     "comparison"},
    {"{{ eq $value 1234567 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq $value 1234567>: error calling eq: incompatible types "
     "for comparison"},
    {"{{ eq $value 1234567.0 }}", 1234567, "true"},
    {"{{ gt $value 1.0 }}", 1234567, "true"},
    {"{{ eq \"a\" \"b\" \"a\" }}", 1234567, "true"},
    {"{{ eq $labels $labels }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq $labels $labels>: error calling eq: non-comparable "
     "type map[instance:host.example.com:9100 job:api sev:a<b&c\"d]: map[string]string"},
    {"{{ lt $labels $labels }}", 1234567,
     "!1:115: executing \"__alert_A\" at <lt $labels $labels>: error calling lt: invalid type for "
     "comparison"},
    {"{{ lt true false }}", 1234567,
     "!1:115: executing \"__alert_A\" at <lt true false>: error calling lt: invalid type for "
     "comparison"},
    {"{{ eq nil nil }}", 1234567, "true"},
    {"{{ eq $labels.missing \"\" }}", 1234567, "true"},
    {"{{ args 1 \"x\" 2.5 }}", 1234567, "map[arg0:1 arg1:x arg2:2.5]"},
    {"{{ (args 1 \"x\").arg1 }}", 1234567, "x"},
    {"{{ (args 1 \"x\").arg9 }}", 1234567, "<no value>"},
    {"{{ index $labels \"job\" }}", 1234567, "api"},
    {"{{ index $labels \"nope\" }}|", 1234567, "|"},
    {"{{ index $labels 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index $labels 1>: error calling index: value has type "
     "int; should be string"},
    {"{{ index \"abc\" 1 }}", 1234567, "98"},
    {"{{ index \"abc\" 3 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index \"abc\" 3>: error calling index: reflect: string "
     "index out of range"},
    {"{{ index \"abc\" 4 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index \"abc\" 4>: error calling index: index out of "
     "range: 4"},
    {"{{ index \"abc\" -1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index \"abc\" -1>: error calling index: index out of "
     "range: -1"},
    {"{{ index 1 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index 1 1>: error calling index: can't index item of "
     "type int"},
    {"{{ slice \"abcdef\" 1 3 }}", 1234567, "bc"},
    {"{{ slice \"abcdef\" 4 3 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <slice \"abcdef\" 4 3>: error calling slice: invalid "
     "slice index: 4 > 3"},
    {"{{ slice \"abc\" 1 2 3 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <slice \"abc\" 1 2 3>: error calling slice: cannot "
     "3-index slice a string"},
    {"{{ slice 5 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <slice 5>: error calling slice: can't slice item of type "
     "int"},
    {"{{ len 3 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <len 3>: error calling len: len of type int"},
    {"{{ len nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <len nil>: error calling len: reflect: call of "
     "reflect.Value.Type on zero Value"},
    {"{{ template \"x\" }}", 1234567,
     "!1:124: executing \"__alert_A\" at <{{template \"x\"}}>: template \"x\" not defined"},
    {"{{ define \"x\" }}[{{ . }}]{{ end }}{{ template \"x\" 5 }}", 1234567, "[5]"},
    {"{{ block \"b\" .Value }}v={{ . }}{{ end }}", 1234567, "v=1.234567e+06"},
    {"{{ humanize \"abc\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize \"abc\">: error calling humanize: "
     "strconv.ParseFloat: parsing \"abc\": invalid syntax"},
    {"{{ humanize true }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize true>: error calling humanize: can't convert "
     "bool to float"},
    {"{{ humanize nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize nil>: error calling humanize: can't convert "
     "<nil> to float"},
    {"{{ humanize $labels }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize $labels>: error calling humanize: can't convert "
     "map[string]string to float"},
    {"{{ toTime $value }}", 1234567, "1970-01-15 06:56:07 +0000 UTC"},
    {"{{ ($value | toTime).Format \"2006-01-02 15:04:05\" }}", 1234567, "1970-01-15 06:56:07"},
    {"{{ ($value | toTime).Year }} {{ ($value | toTime).Month }} {{ ($value | toTime).Weekday }} "
     "{{ ($value | toTime).Unix }}",
     1234567, "1970 January Thursday 1234567"},
    {"{{ humanizeTimestamp $value }}", 1234567, "1970-01-15 06:56:07 +0000 UTC"},
    {"{{ humanizeTimestamp 1.5 }}", 1234567, "1970-01-01 00:00:01.5 +0000 UTC"},
    {"{{ humanizeTimestamp 1e20 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanizeTimestamp 1e20>: error calling "
     "humanizeTimestamp: 1e+20 cannot be represented as a nanoseconds timestamp since it overflows "
     "int64"},
    {"{{ $value | humanizeTimestamp }}", NAN, "NaN"},
    {"{{ $value | toTime }}", NAN,
     "!1:124: executing \"__alert_A\" at <toTime>: error calling toTime: value is NaN or Inf"},
    {"{{ toTime 1e20 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <toTime 1e20>: error calling toTime: 1e+20 cannot be "
     "represented as a nanoseconds timestamp since it overflows int64"},
    {"{{ parseDuration \"1h30m\" }} {{ parseDuration \"x\" }}", 1234567,
     "!1:143: executing \"__alert_A\" at <parseDuration \"x\">: error calling parseDuration: not a "
     "valid duration string: \"x\""},
    {"{{ parseDuration \"5m\" }}", 1234567, "300"},
    {"{{ parseDuration 5 }}", 1234567,
     "!1:129: executing \"__alert_A\" at <5>: expected string; found 5"},
    {"{{ $externalLabels.region }} {{ .ExternalLabels }}", 1234567, "eu map[region:eu zone:z1]"},
    {"{{ graphLink \"up == 0\" }} {{ tableLink \"a{b=\\\"c\\\"}\" }}", 1234567,
     "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=a%7Bb%3D%22c%22%7D&g0.tab=1"},
    {"{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }} {{ stripDomain "
     "\"10.0.0.1:90\" }} {{ stripPort \"[::1]:90\" }} {{ stripPort \"nocolon\" }} {{ stripDomain "
     "\"a.b.c\" }} {{ stripPort \"a:b:c\" }}",
     1234567, "host.example.com host:9100 10.0.0.1:90 ::1 nocolon a a:b:c"},
    {"{{ title \"hello wOrld foo-bar o'neil\" }} {{ toUpper \"\303\244bc\" }} {{ toLower "
     "\"\303\204BC\" }}",
     1234567, "Hello WOrld Foo-Bar O'Neil \303\204BC \303\244bc"},
    {"{{ match \"a+\" \"xaay\" }} {{ match \"^b\" \"ab\" }}", 1234567, "true false"},
    {"{{ match \"(\" \"x\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <match \"(\" \"x\">: error calling match: error parsing "
     "regexp: missing closing ): `(`"},
    {"{{ reReplaceAll \"(.*):(.*)\" \"$2-$1\" $labels.instance }}", 1234567,
     "9100-host.example.com"},
    {"{{ reReplaceAll \"a*\" \"-\" \"baaac\" }}", 1234567, "-b-c-"},
    {"{{ reReplaceAll \"(\" \"-\" \"baaac\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <reReplaceAll \"(\" \"-\" \"baaac\">: error calling "
     "reReplaceAll: regexp: Compile(`(`): error parsing regexp: missing closing ): `(`"},
    {"{{ reReplaceAll \"(?P<n>b)\" \"[${n}]$1x$$\" \"abc\" }}", 1234567, "a[b]$c"},
    {"{{ safeHtml \"<b>\" }} {{ html \"<a href='x'>&\\\"\" }} {{ js \"it's <\\\"x\\\">&=\\n\" }} "
     "{{ urlquery \"a b&c=d/\303\251\" }}",
     1234567,
     "<b> &lt;a href=&#39;x&#39;&gt;&amp;&#34; it\\'s \\u003C\\\"x\\\"\\u003E\\u0026\\u003D\\u000A "
     "a+b%26c%3Dd%2F%C3%A9"},
    {"{{ printf \"%T\" (safeHtml \"x\") }}", 1234567, "template.HTML"},
    {"{{ printf \"%d\" $value }} {{ printf \"%d\" \"x\" }} {{ printf \"%s\" 5 }} {{ printf \"%q\" "
     "\"a\\\"b\" }} {{ printf \"%v\" }} {{ printf \"%d %d\" 1 }} {{ printf \"x\" 1 \"y\" }} {{ "
     "printf \"%z\" 1 }} {{ printf \"%\" }}",
     1234567,
     "%!d(float64=1.234567e+06) %!d(string=x) %!s(int=5) \"a\\\"b\" %!v(MISSING) 1 %!d(MISSING) "
     "x%!(EXTRA int=1, string=y) %!z(int=1) %!(NOVERB)"},
    {"{{ printf \"%5.1f|%-10s|%+v|%x|%X|%08.3f|%+d|% d|%c|%U|%o|%b|%e|%g|%G|%t|%%\" 3.14159 \"ab\" "
     "5 255 \"hi\" 3.14159 5 5 65 65 8 5 1234.5 1e10 1e-10 true }}",
     1234567,
     "  3.1|ab        |5|ff|6869|0003.142|+5| 5|A|U+0041|10|101|1.234500e+03|1e+10|1E-10|true|%"},
    {"{{ print 1 2 \"a\" \"b\" 3 4.5 true nil }} {{ println \"x\" 1 }}|", 1234567,
     "1 2ab3 4.5 true <nil> x 1\n|"},
    {"{{ printf \"%v %s\" nil nil }} {{ printf \"%s\" $labels }} {{ printf \"%d\" $labels }} {{ "
     "printf \"%v\" true }} {{ printf \"%s\" true }}",
     1234567,
     "<nil> %!s(<nil>) map[instance:host.example.com:9100 job:api sev:a<b&c\"d] "
     "map[%!d(string=instance):%!d(string=host.example.com:9100) %!d(string=job):%!d(string=api) "
     "%!d(string=sev):%!d(string=a<b&c\"d)] true %!s(bool=true)"},
    {"{{ and 1 0 2 }} {{ or 0 \"\" \"x\" }} {{ not 1 }} {{ and }}", 1234567,
     "!1:161: executing \"__alert_A\" at <and>: wrong number of args for and: want at least 1 got "
     "0"},
    {"{{ and 0 (index \"a\" 9) }} {{ or 1 (index \"a\" 9) }}", 1234567, "0 1"},
    {"{{ 5 | and 1 }} {{ 0 | or 0 }}", 1234567, "5 0"},
    {"{{ $x := 5 }}{{ $x }}{{ $x = 6 }}{{ $x }}{{ if true }}{{ $x = 7 }}{{ $y := 1 }}{{ end }}{{ "
     "$x }}",
     1234567, "567"},
    {"{{ nil }}", 1234567, "!1:115: executing \"__alert_A\" at <nil>: nil is not a command"},
    {"{{ 3 4 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <3>: can't give argument to non-function 3"},
    {"{{ $labels.job 4 }}", 1234567,
     "!1:122: executing \"__alert_A\" at <$labels.job>: job is not a method but has arguments"},
    {"{{ .Labels.job 4 }}", 1234567,
     "!1:122: executing \"__alert_A\" at <.Labels.job>: job is not a method but has arguments"},
    {"{{ 4 | $labels.job }}", 1234567,
     "!1:126: executing \"__alert_A\" at <$labels.job>: job is not a method but has arguments"},
    {"{{ humanize }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize>: wrong number of args for humanize: want 1 got "
     "0"},
    {"{{ humanize 1 2 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize>: wrong number of args for humanize: want 1 got "
     "2"},
    {"{{ label \"x\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <label>: wrong number of args for label: want 2 got 1"},
    {"{{ toUpper 5 }}", 1234567,
     "!1:123: executing \"__alert_A\" at <5>: expected string; found 5"},
    {"{{ toUpper $value }}", 1234567,
     "!1:123: executing \"__alert_A\" at <$value>: wrong type for value; expected string; got "
     "float64"},
    {"{{ toUpper .Value }}", 1234567,
     "!1:123: executing \"__alert_A\" at <.Value>: wrong type for value; expected string; got "
     "float64"},
    {"{{ toUpper nil }}", 1234567,
     "!1:123: executing \"__alert_A\" at <nil>: cannot assign nil to string"},
    {"{{ first nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <first nil>: error calling first: first() called on "
     "vector with no elements"},
    {"{{ label \"x\" nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <label \"x\" nil>: error calling label: runtime error: "
     "invalid memory address or nil pointer dereference"},
    {"{{ range 5.5 }}x{{ end }}", 1234567,
     "!1:121: executing \"__alert_A\" at <5.5>: range can't iterate over 5.5"},
    {"{{ range \"abc\" }}x{{ end }}", 1234567,
     "!1:121: executing \"__alert_A\" at <\"abc\">: range can't iterate over abc"},
    {"{{ range nil }}x{{ end }}", 1234567,
     "!1:121: executing \"__alert_A\" at <nil>: nil is not a command"},
    {"{{ range $labels.missing }}x{{ end }}", 1234567,
     "!1:128: executing \"__alert_A\" at <$labels.missing>: range can't iterate over "},
    {"{{ with $x := 5 }}{{ $x }}{{ end }}", 1234567, "5"},
    {"{{ with .Value }}{{ . }}{{ end }}{{ if and (gt $value 1.0) (lt $value 5.0) }}a{{ else if "
     "true }}b{{ else }}c{{ end }}",
     1234567, "1.234567e+06b"},
    {"a {{- 1 -}} b {{- /* c */ -}} c {{/* x */}} d", 1234567, "a1bc  d"},
    {"{{ \"a\\tb\\u00e9\\x41\\101\" }} {{ `raw\\n` }} {{ \"x\" | printf \"%s-%s\" \"y\" }} {{ 1 | "
     "}}",
     1234567, "a\011b\303\251AA raw\\n y-x 1"},
    {"{{ call 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <call 1>: error calling call: non-function of type int"},
    {"{{ call nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <call nil>: error calling call: call of nil"},
    {"{{ println }}", 1234567, "\n"},
    {"{{ printf \"%5d|%-5d|%05d|%+05d|%x|%#x|%#o|%O|%08b|%.3d|%8.3d|%-8.3d|%08.3d\" 42 42 42 42 "
     "-255 255 8 8 5 7 7 7 7 }}",
     1234567, "   42|42   |00042|+0042|-ff|0xff|010|0o10|00000101|007|     007|007     |     007"},
    {"{{ printf \"%6.2f|%-8.3f|%+.1e|%08.2f|%+08.2f|% .2f|%.0f|%.3g|%10.3g|%G|%E|%F\" 3.14159 2.5 "
     "12345.678 -3.14159 3.14159 2.5 2.5 123456.0 0.00012345 1e-7 1234.5 1.5 }}",
     1234567,
     "  3.14|2.500   |+1.2e+04|-0003.14|+0003.14| 2.50|2|1.23e+05|  "
     "0.000123|1E-07|1.234500E+03|1.500000"},
    {"{{ printf \"%s|%10s|%-10s|%.2s|%q|%x|%X|% x|%#x|%#q|%+q|%5q|%05s\" \"h\303\251llo\" "
     "\"h\303\251llo\" \"h\303\251llo\" \"h\303\251llo\" \"a\\tb\\\"c\" \"hi\" \"hi\" \"hi\" "
     "\"hi\" \"hi\" \"h\303\251\" \"a\" \"ab\" }}",
     1234567,
     "h\303\251llo|     h\303\251llo|h\303\251llo     |h\303\251|\"a\\tb\\\"c\"|6869|6869|68 "
     "69|0x6869|`hi`|\"h\\u00e9\"|  \"a\"|000ab"},
    {"{{ printf \"%v|%+v|%#v|%T|%v|%#v|%#v|%v\" \"a\" 1.5 \"a\" \"a\" 1.5 1.5 5 true }}", 1234567,
     "a|1.5|\"a\"|string|1.5|1.5|5|true"},
    {"{{ printf \"%#v %#v\" $externalLabels (args 1 \"x\") }}", 1234567,
     "map[string]string{\"region\":\"eu\", \"zone\":\"z1\"} map[string]interface {}{\"arg0\":1, "
     "\"arg1\":\"x\"}"},
    {"{{ printf \"%[2]s %[1]s|%[3]*.[2]*[1]f\" \"a\" \"b\" }}", 1234567,
     "b a|%!(BADWIDTH)%!(BADPREC)%!f(BADINDEX)"},
    {"{{ printf \"%[2]d %[1]d\" 1 2 }} {{ printf \"%[5]d\" 1 }} {{ printf \"%[x]d\" 1 }} {{ printf "
     "\"%[1]d %d\" 1 2 }} {{ printf \"%[1\" 1 }}",
     1234567, "2 1 %!d(BADINDEX) %!d(BADINDEX) 1 2 %!(NOVERB)"},
    {"{{ printf \"%*d|%-*d|%.*f|%*d\" 5 42 5 42 2 3.14159 \"x\" 1 }}", 1234567,
     "   42|42   |3.14|%!(BADWIDTH)1"},
    {"{{ printf \"%t %t\" true 1 }} {{ printf \"%c%c %q %U %#U\" 65 8364 65 8364 8364 }} {{ printf "
     "\"%q\" 39 }}",
     1234567, "true %!t(int=1) A\342\202\254 'A' U+20AC U+20AC '\342\202\254' '\\''"},
    {"{{ printf \"%!\" }} {{ printf \"%-\" }} {{ printf \"%5\" 1 }} {{ printf \"a%\" 1 }} {{ "
     "printf \"%%%d%%\" 5 }} {{ printf \"%5%|%-5%\" }}",
     1234567,
     "%!!(MISSING) %!(NOVERB) %!(NOVERB)%!(EXTRA int=1) a%!(NOVERB)%!(EXTRA int=1) %5% %|%"},
    {"{{ printf \"%d %s\" $labels.job $value }} {{ printf \"%s\" 1.5 }} {{ printf \"%d\" nil }} {{ "
     "printf \"%T\" nil }} {{ printf \"%T %T %T\" 1 1.5 'a' }}",
     1234567,
     "%!d(string=api) %!s(float64=1.234567e+06) %!s(float64=1.5) %!d(<nil>) <nil> int float64 int"},
    {"{{ printf \"%v %d %s\" $externalLabels (args 1 2) (args \"a\" 1) }}", 1234567,
     "map[region:eu zone:z1] map[%!d(string=arg0):1 %!d(string=arg1):2] map[arg0:a "
     "arg1:%!s(int=1)]"},
    {"{{ printf \"%.2f%% of %s\" 12.345 \"x\" }} {{ printf \"%.1f\" $value }} {{ printf \"%8.1f\" "
     "$value }}",
     1234567, "12.35% of x 1234567.0 1234567.0"},
    {"{{ printf \"%s\" (toTime 1.5) }} {{ printf \"%v\" (toTime 1.5) }} {{ printf \"%d\" (toTime "
     "1.5).Month }} {{ printf \"%q\" (toTime 1.5).Month }}",
     1234567, "1970-01-01 00:00:01.5 +0000 UTC 1970-01-01 00:00:01.5 +0000 UTC 1 \"January\""},
    {"{{ printf \"%e %g %v %f\" 0.0 0.0 0.0 0.0 }} {{ printf \"%g %g %g\" 100000.0 1000000.0 "
     "123456789.0 }} {{ printf \"%g\" 1e-5 }} {{ printf \"%.10g\" 1e-5 }}",
     1234567, "0.000000e+00 0 0 0.000000 100000 1e+06 1.23456789e+08 1e-05 1e-05"},
    {"{{ 1e5 }} {{ 1e6 }} {{ 1e20 }} {{ 1e21 }} {{ 0.0001 }} {{ 0.00001 }} {{ 123456.789 }} {{ 0.1 "
     "}} {{ 1.0 }} {{ -0.0 }} {{ 1e100 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }} {{ "
     "9007199254740993 }} {{ 3.0e-7 }}",
     1234567,
     "100000 1e+06 1e+20 1e+21 0.0001 1e-05 123456.789 0.1 1 -0 1e+100 5e-324 "
     "1.7976931348623157e+308 9007199254740993 3e-07"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     0, "0 0 0 0s 0% 1970-01-01 00:00:00 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     1, "1 1 1 1s 100% 1970-01-01 00:00:01 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     -1, "-1 -1 -1 -1s -100% 1969-12-31 23:59:59 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     0.1234, "0.1234 123.4m 0.1234 123.4ms 12.34% 1970-01-01 00:00:00.123 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     999.99, "999.99 1000 1000 16m 39s 1e+05% 1970-01-01 00:16:39.99 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     999999, "999999 1000k 976.6ki 11d 13h 46m 39s 1e+08% 1970-01-12 13:46:39 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     1435065584.128,
     "1.435065584128e+09 1.435G 1.337Gi 16609d 13h 19m 44s 1.435e+11% 2015-06-23 13:19:44.128 "
     "+0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     -3725.5, "-3725.5 -3.725k -3.638ki -1h 2m 5s -3.726e+05% 1969-12-31 22:57:54.5 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     59.9999, "59.9999 60 60 60s 6000% 1970-01-01 00:00:59.999 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     60, "60 60 60 1m 0s 6000% 1970-01-01 00:01:00 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     90061, "90061 90.06k 87.95ki 1d 1h 1m 1s 9.006e+06% 1970-01-02 01:01:01 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     0.0000001234, "1.234e-07 123.4n 1.234e-07 123.4ns 1.234e-05% 1970-01-01 00:00:00 +0000 UTC"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizePercentage $value }}",
     1e-27, "1e-27 0.001y 1e-27 1e-25%"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     INFINITY, "+Inf +Inf +Inf +Inf +Inf% +Inf"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     -INFINITY, "-Inf -Inf -Inf -Inf -Inf% -Inf"},
    {"{{ $value }} {{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} "
     "{{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
     NAN, "NaN NaN NaN NaN NaN% NaN"},
    {"{{ humanize \"1234567\" }} {{ humanize 5 }} {{ humanize \"1e3\" }} {{ humanize \"0x10\" }} "
     "{{ humanize \"Inf\" }} {{ humanize \"nan\" }}",
     1234567,
     "!1:178: executing \"__alert_A\" at <humanize \"0x10\">: error calling humanize: "
     "strconv.ParseFloat: parsing \"0x10\": invalid syntax"},
    {"{{ humanize \" 1\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize \" 1\">: error calling humanize: "
     "strconv.ParseFloat: parsing \" 1\": invalid syntax"},
    {"{{ humanize \"1e999\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize \"1e999\">: error calling humanize: "
     "strconv.ParseFloat: parsing \"1e999\": value out of range"},
    {"{{ humanize \"\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize \"\">: error calling humanize: "
     "strconv.ParseFloat: parsing \"\": invalid syntax"},
    {"{{ humanizeTimestamp -1.5 }} {{ humanizeTimestamp 951782400 }} {{ humanizeTimestamp "
     "951868800 }} {{ humanizeTimestamp 4107542400 }} {{ humanizeTimestamp -62135596800 }}",
     1234567,
     "!1:247: executing \"__alert_A\" at <humanizeTimestamp -62135596800>: error calling "
     "humanizeTimestamp: -6.21355968e+10 cannot be represented as a nanoseconds timestamp since it "
     "overflows int64"},
    {"{{ (toTime 951782400).YearDay }} {{ (toTime 1709164800).YearDay }} {{ (toTime "
     "1709251200).YearDay }} {{ (toTime 1735603200).YearDay }} {{ (toTime 1704067200).YearDay }}",
     1234567, "60 60 61 366 1"},
    {"{{ (toTime 1435065584.128).Format \"Mon Jan _2 15:04:05 MST 2006 | Monday, 02-Jan-06 "
     "15:04:05 -0700 | 3:04PM | 03:04:05.000 pm Z07:00 | 1/2/06 __2 002 | .999 .00 ,000000\" }}",
     1234567,
     "Tue Jun 23 13:19:44 UTC 2015 | Tuesday, 23-Jun-15 13:19:44 +0000 | 1:19PM | 01:19:44.128 pm "
     "Z | 6/23/15 174 174 | .128 .12 ,128000"},
    {"{{ (toTime 5).Format \"Janet May Marchen 2006-01-02T15:04:05Z0700 -07 -07:00 -070000 _2006 "
     "20061 0102 January\" }}",
     1234567, "Janet May Marchen 1970-01-01T00:00:05Z +00 +00:00 +000000 _1970 19701 0101 January"},
    {"{{ (toTime 5).Nope }}", 1234567,
     "!1:123: executing \"__alert_A\" at <5>: can't evaluate field Nope in type *time.Time"},
    {"{{ (toTime 5).Format }}", 1234567,
     "!1:123: executing \"__alert_A\" at <5>: wrong number of args for Format: want 1 got 0"},
    {"{{ (toTime 5).Format 5 }}", 1234567,
     "!1:133: executing \"__alert_A\" at <5>: expected string; found 5"},
    {"{{ (toTime 5).Year 5 }}", 1234567,
     "!1:123: executing \"__alert_A\" at <5>: wrong number of args for Year: want 0 got 1"},
    {"{{ toTime 5 | printf \"%T\" }} {{ (toTime 5).Unix | printf \"%T\" }} {{ (toTime 5).UTC }} {{ "
     "(toTime 5).String }} {{ (toTime 5).UnixMilli }} {{ (toTime 5.25).Nanosecond }} {{ (toTime "
     "5).Hour }} {{ (toTime 5).Day }}",
     1234567,
     "*time.Time int64 1970-01-01 00:00:05 +0000 UTC 1970-01-01 00:00:05 +0000 UTC 5000 250000000 "
     "0 1"},
    {"{{ range $i, $v := args \"a\" \"b\" }}{{ $i }}{{ $v }}{{ end }} {{ range args }}x{{ else "
     "}}empty{{ end }} {{ index (args 1 2) \"arg1\" }} {{ index (args (args 1)) \"arg0\" \"arg0\" "
     "}}",
     1234567, "arg0aarg1b empty 2 1"},
    {"{{ args 0 1 2 3 4 5 6 7 8 9 10 11 }}", 1234567,
     "map[arg0:0 arg1:1 arg10:10 arg11:11 arg2:2 arg3:3 arg4:4 arg5:5 arg6:6 arg7:7 arg8:8 "
     "arg9:9]"},
    {"{{ $m := args \"k\" 5 }}{{ $m.arg1 }} {{ $m.arg9 }} {{ len $m }}", 1234567, "5 <no value> 2"},
    {"{{ $m := args \"k\" 5 }}{{ $m.arg9.foo }}", 1234567,
     "!1:139: executing \"__alert_A\" at <$m.arg9.foo>: nil pointer evaluating interface {}.foo"},
    {"{{ $m := args \"k\" 5 }}{{ $x := $m.arg9 }}{{ $x.foo }}", 1234567, "<no value>"},
    {"{{ and true $labels.job }} {{ or $labels.nope \"dflt\" }} {{ not $labels.nope }} {{ if and "
     "(eq $labels.job \"api\") (gt $value 5.0) }}y{{ end }}",
     1234567, "api dflt true y"},
    {"{{ with $labels.nope }}x{{ else }}{{ with \"in\" }}{{ . }}{{ $.Value }}{{ end }}{{ end }}",
     1234567, "in1.234567e+06"},
    {"{{ if eq $labels.job \"api\" \"web\" }}one{{ else }}two{{ end }} {{ ne 1 2 }} {{ le 1 1 }} "
     "{{ ge \"b\" \"a\" }} {{ lt 1.5 2.5 }} {{ gt \"a\" \"b\" }}",
     1234567, "one true true true true false"},
    {"{{ eq }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq>: wrong number of args for eq: want at least 1 got 0"},
    {"{{ eq 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq 1>: error calling eq: missing argument for "
     "comparison"},
    {"{{ ne 1 2 3 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <ne>: wrong number of args for ne: want 2 got 3"},
    {"{{ lt 1 1.5 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <lt 1 1.5>: error calling lt: incompatible types for "
     "comparison"},
    {"{{ lt 1 nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <lt 1 nil>: error calling lt: invalid type for "
     "comparison"},
    {"{{ eq 1 nil }}", 1234567, "false"},
    {"{{ eq true 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq true 1>: error calling eq: incompatible types for "
     "comparison"},
    {"{{ eq $labels 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq $labels 1>: error calling eq: incompatible types for "
     "comparison"},
    {"{{ eq 1 $labels }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq 1 $labels>: error calling eq: incompatible types for "
     "comparison"},
    {"{{ gt $value 5.0 }} {{ lt $value 5.0 }} {{ ge $value 5.0 }} {{ le $value 5.0 }} {{ eq $value "
     "$value }}",
     NAN, "true false true false false"},
    {"{{ reReplaceAll \"([a-z]+)\\\\.([a-z]+)\" \"${2}_$1\" \"host.example.com\" }} {{ "
     "reReplaceAll \"x*\" \"-\" \"abc\" }} {{ reReplaceAll \"\" \".\" \"h\303\251y\" }} {{ "
     "reReplaceAll \"b+\" \"\" \"abbbc\" }} {{ reReplaceAll \"(?i)HOST\" \"h\" \"Host-host\" }}",
     1234567, "example_host.com -a-b-c- .h.\303\251.y. ac h-h"},
    {"{{ reReplaceAll \"^\" \">\" \"ab\\ncd\" }} {{ reReplaceAll \"(?m)^\" \">\" \"ab\\ncd\" }} {{ "
     "reReplaceAll \".\" \"x\" \"a\\nb\" }} {{ reReplaceAll \"$\" \"!\" \"ab\" }} {{ reReplaceAll "
     "\"(a)(b)?\" \"[$1|$2]\" \"aab\" }} {{ reReplaceAll \"a\" \"$\" \"a\" }} {{ reReplaceAll "
     "\"a\" \"$$1${\" \"a\" }}",
     1234567, ">ab\ncd >ab\n>cd x\nx ab! [a|][a|b] $ $1${"},
    {"{{ match \"\" \"\" }} {{ match \"a.c\" \"a\\nc\" }} {{ match \"(?s)a.c\" \"a\\nc\" }} {{ "
     "match \"\\\\d{3}\" \"x123\" }} {{ match \"\\\\bapi\\\\b\" \"my api x\" }} {{ match \"a|b$\" "
     "\"cb\" }} {{ match \"[[:alpha:]]+\" \"1a\" }}",
     1234567, "true false true true true true true"},
    {"{{ match \"a)\" \"x\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <match \"a)\" \"x\">: error calling match: error parsing "
     "regexp: unexpected ): `a)`"},
    {"{{ stripPort \"\" }}|{{ stripPort \":80\" }}|{{ stripPort \"a:\" }}|{{ stripPort \"[::1]\" "
     "}}|{{ stripPort \"::1\" }}|{{ stripPort \"[a:80\" }}|{{ stripPort \"a]b:80\" }}|{{ stripPort "
     "\"[::1]x:80\" }}",
     1234567, "||a|[::1]|::1|[a:80|a]b:80|[::1]x:80"},
    {"{{ stripDomain \"\" }}|{{ stripDomain \"a.b:80\" }}|{{ stripDomain \"[::1]:80\" }}|{{ "
     "stripDomain \"1.2.3.4\" }}|{{ stripDomain \"::1\" }}|{{ stripDomain \"a:\" }}|{{ stripDomain "
     "\"1.2.3.400:80\" }}|{{ stripDomain \"[fe80::1%eth0]:80\" }}|{{ stripDomain \"01.2.3.4\" }}",
     1234567, "|a:80|[::1]:80|1.2.3.4|::1|a|1:80|[fe80::1%eth0]:80|01"},
    {"{{ title \"\303\244\303\266\303\274 stra\303\237e\" }} {{ toUpper \"stra\303\237e \303\277 "
     "\303\261and\303\272 \320\277\321\200\320\270\320\262\320\265\321\202 "
     "\316\263\316\265\316\271\316\254\" }} {{ toLower \"STRASSE \305\270\303\221 "
     "\320\237\320\240\320\230\320\222\320\225\320\242 \316\223\316\225\316\231\316\206\" }} {{ "
     "title \"a1b _c 9d e.f\" }}",
     1234567,
     "\303\204\303\266\303\274 Stra\303\237e STRA\303\237E \305\270 \303\221AND\303\232 "
     "\320\237\320\240\320\230\320\222\320\225\320\242 \316\223\316\225\316\231\316\206 strasse "
     "\303\277\303\261 \320\277\321\200\320\270\320\262\320\265\321\202 "
     "\316\263\316\265\316\271\316\254 A1b _c 9d E.F"},
    {"{{ parseDuration \"1y2w3d4h5m6s7ms\" }} {{ parseDuration \"0\" }} {{ parseDuration \"100ms\" "
     "}} {{ parseDuration \"90m\" | humanizeDuration }}",
     1234567, "3.3019506007e+07 0 0.1 1h 30m 0s"},
    {"{{ parseDuration \"\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <parseDuration \"\">: error calling parseDuration: empty "
     "duration string"},
    {"{{ parseDuration \"-5m\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <parseDuration \"-5m\">: error calling parseDuration: not "
     "a valid duration string: \"-5m\""},
    {"{{ parseDuration \"1h1d\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <parseDuration \"1h1d\">: error calling parseDuration: "
     "not a valid duration string: \"1h1d\""},
    {"{{ html \"a\" 1 nil }} {{ html nil }} {{ js \"\303\251\\u0001\\u00a0\" }} {{ urlquery \"a\" "
     "\"b c\" 5 }} {{ html $value }} {{ urlquery \"~-_.*!\" }}",
     1234567,
     "a1&lt;no value&gt; &lt;no value&gt; \303\251\\u0001\\u00A0 ab+c5 1.234567e+06 ~-_.%2A%21"},
    {"{{ print \"a\" 1 2 \"b\" \"c\" 3.5 }}|{{ print }}|{{ print nil nil }}|{{ println 1 \"a\" nil "
     "}}|{{ print $externalLabels 1 }}",
     1234567, "a1 2bc3.5||<nil> <nil>|1 a <nil>\n|map[region:eu zone:z1] 1"},
    {"{{ slice \"abc\" }} {{ slice \"abc\" 1 }} {{ slice \"abc\" 3 }}| {{ index \"abc\" 0 }} {{ "
     "index $labels \"job\" | printf \"%.1s\" }}",
     1234567, "abc bc | 97 a"},
    {"{{ slice \"abc\" \"a\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <slice \"abc\" \"a\">: error calling slice: cannot index "
     "slice/array with type string"},
    {"{{ slice nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <slice nil>: error calling slice: slice of untyped nil"},
    {"{{ index nil 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index nil 1>: error calling index: index of untyped nil"},
    {"{{ index $labels }}", 1234567, "map[instance:host.example.com:9100 job:api sev:a<b&c\"d]"},
    {"{{ index $labels nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index $labels nil>: error calling index: value is nil; "
     "should be of type string"},
    {"{{ (index $labels \"job\").foo }}", 1234567,
     "!1:130: executing \"__alert_A\" at <\"job\">: can't evaluate field foo in type string"},
    {"{{ slice \"abcdef\" 1 9 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <slice \"abcdef\" 1 9>: error calling slice: index out of "
     "range: 9"},
    {"{{ query \"5\" | first | value }} {{ (query \"5\" | first).Labels }} {{ query \"nope\" }} {{ "
     "if query \"nope\" }}x{{ else }}y{{ end }}",
     1234567, "5 map[] [] y"},
    {"{{ first (query \"q\" | sortByLabel \"job\") | label \"job\" }} {{ label \"job\" (query "
     "\"q\" | sortByLabel \"idx\" | first) }}",
     1234567, "a c"},
    {"{{ range query \"q\" | sortByLabel \"job\" }}{{ . }} {{ .Labels }} {{ end }}", 1234567,
     "{map[__name__:q idx:10 job:a] 11.5} map[__name__:q idx:10 job:a] {map[__name__:q idx:2 "
     "job:b] 22} map[__name__:q idx:2 job:b] {map[__name__:q idx:1 job:c] -3} map[__name__:q idx:1 "
     "job:c] "},
    {"{{ first 5 }}", 1234567,
     "!1:121: executing \"__alert_A\" at <5>: can't handle 5 for arg of type template.queryResult"},
    {"{{ first $labels }}", 1234567,
     "!1:121: executing \"__alert_A\" at <$labels>: wrong type for value; expected "
     "template.queryResult; got map[string]string"},
    {"{{ label \"x\" \"y\" }}", 1234567,
     "!1:125: executing \"__alert_A\" at <\"y\">: can't handle \"y\" for arg of type "
     "*template.sample"},
    {"{{ value $value }}", 1234567,
     "!1:121: executing \"__alert_A\" at <$value>: wrong type for value; expected "
     "*template.sample; got float64"},
    {"{{ \"a\" | label \"x\" }}", 1234567,
     "!1:127: executing \"__alert_A\" at <\"x\">: wrong type for value; expected *template.sample; "
     "got string"},
    {"{{ query 5 }}", 1234567, "!1:121: executing \"__alert_A\" at <5>: expected string; found 5"},
    {"{{ $value | query }}", 1234567,
     "!1:124: executing \"__alert_A\" at <query>: wrong type for value; expected string; got "
     "float64"},
    {"{{ toUpper }}", 1234567,
     "!1:115: executing \"__alert_A\" at <toUpper>: wrong number of args for toUpper: want 1 got "
     "0"},
    {"{{ toUpper \"a\" \"b\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <toUpper>: wrong number of args for toUpper: want 1 got "
     "2"},
    {"{{ toUpper (safeHtml \"x\") }}", 1234567,
     "!1:133: executing \"__alert_A\" at <\"x\">: wrong type for value; expected string; got "
     "template.HTML"},
    {"{{ safeHtml \"<b>\" | printf \"%s|%v|%q\" }} {{ print (safeHtml \"a\") 1 2 }} {{ eq "
     "(safeHtml \"a\") \"a\" }} {{ len (safeHtml \"abc\") }}",
     1234567, "<b>|%!v(MISSING)|%!q(MISSING) a1 2 true 3"},
    {"{{ $.Labels.job }} {{ $.Value }} {{ .ExternalURL }} {{ $externalURL }}", 1234567,
     "api 1.234567e+06 http://prom.example:9090/path http://prom.example:9090/path"},
    {"{{ .Labels.job.foo.bar }}", 1234567,
     "!1:122: executing \"__alert_A\" at <.Labels.job.foo.bar>: can't evaluate field foo in type "
     "string"},
    {"{{ (1).foo }}", 1234567,
     "!1:116: executing \"__alert_A\" at <1>: can't evaluate field foo in type int"},
    {"{{ (\"abc\") }} {{ (printf \"%d\" 5) | toUpper }} {{ ((5)) }} {{ (($value)) }}", 1234567,
     "abc 5 5 1.234567e+06"},
    {"{{ (\"a\") \"b\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <(\"a\") \"b\">: can't give argument to non-function "
     "\"a\""},
    {"{{ 1 | (\"a\") }}", 1234567,
     "!1:115: executing \"__alert_A\" at <1>: can't give argument to non-function \"a\""},
    {"{{ $labels.job | toUpper | printf \"%s-%s\" \"x\" | toLower }}", 1234567, "x-api"},
    {"{{ $value | $labels.job }}", 1234567,
     "!1:131: executing \"__alert_A\" at <$labels.job>: job is not a method but has arguments"},
    {"{{ $value | $value }}", 1234567,
     "!1:124: executing \"__alert_A\" at <$value>: can't give argument to non-function $value"},
    {"{{ .Value 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <.Value>: Value has arguments but cannot be invoked as "
     "function"},
    {"{{ . 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <.>: can't give argument to non-function ."},
    {"{{ true 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <true>: can't give argument to non-function true"},
    {"{{ \"a\" \"b\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <\"a\">: can't give argument to non-function \"a\""},
    {"{{ $x := $value | humanize }}{{ $x }} {{ $y := 1 }}{{ $y = 2.5 }}{{ $y }} {{ with $z := "
     "\"q\" }}{{ $z }}{{ . }}{{ end }}",
     1234567, "1.235M 2.5 qq"},
    {"{{ if $x := $labels.job }}{{ $x }}{{ end }}{{ range $k, $v := $externalLabels }}{{ if eq $k "
     "\"region\" }}{{ continue }}{{ end }}{{ $k }}:{{ $v }}{{ else }}none{{ end }}",
     1234567, "apizone:z1"},
    {"{{ range $labels }}{{ . }},{{ end }}{{ range $i := args 1 2 3 }}{{ $i }}{{ end }}{{ $c := 0 "
     "}}{{ range $labels }}{{ $c = len . }}{{ end }}{{ $c }}",
     1234567, "host.example.com:9100,api,a<b&c\"d,1237"},
    {"{{ range $k, $v := $labels }}{{ range $kk, $vv := $externalLabels }}{{ if eq $kk \"z1\" }}{{ "
     "break }}{{ end }}{{ $k }}{{ $kk }} {{ end }}{{ end }}",
     1234567, "instanceregion instancezone jobregion jobzone sevregion sevzone "},
    {"{{ define \"t\" }}<{{ . }}{{ $ }}>{{ end }}{{ template \"t\" $value }}{{ template \"t\" "
     "\"x\" }}{{ template \"t\" }}",
     1234567, "<1.234567e+061.234567e+06><xx><<no value><no value>>"},
    {"{{ define \"t\" }}{{ .nope.foo }}{{ end }}{{ template \"t\" $labels }}", 1234567,
     "!1:136: executing \"t\" at <.nope.foo>: can't evaluate field foo in type string"},
    {"{{ define \"t\" }}{{ toUpper . }}{{ end }}{{ template \"t\" 5 }}", 1234567,
     "!1:139: executing \"t\" at <.>: wrong type for value; expected string; got int"},
    {"{{ define \"t\" }}{{ .foo }}{{ end }}{{ template \"t\" }}", 1234567, "<no value>"},
    {"{{ block \"t\" $labels }}[{{ .job }}]{{ end }}{{ template \"t\" $labels }}{{ define \"u\" "
     "}}{{ end }}{{ template \"u\" }}",
     1234567, "[api][api]"},
    {"{{- /* lead */ -}}  x {{- \"y\" -}}  z   {{- /* tail */}}", 1234567, "xyz"},
    {"  {{- $value -}}  ", 1234567, "1.234567e+06"},
    {"a{{ \"b\" }}\n{{- \"c\" }}\n\n{{ \"d\" -}}\n e", 1234567, "abc\n\nde"},
    {"x\ny {{ .Foo }}", 1234567,
     "!2:5: executing \"__alert_A\" at <.Foo>: can't evaluate field Foo in type struct { Labels "
     "map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }"},
    {"x\n\n  y {{ toUpper 5 }}", 1234567,
     "!3:15: executing \"__alert_A\" at <5>: expected string; found 5"},
    {"{{ printf \"%d items\"\n 5 }}", 1234567, "5 items"},
    {"{{ \"a\\\\n\\u00e9\\x41\\101\\U0001F600\\a\\b\\f\\r\\v\\\"\" | printf \"%q\" }}", 1234567,
     "\"a\\\\n\303\251AA\360\237\230\200\\a\\b\\f\\r\\v\\\"\""},
    {"{{ '\303\251' }} {{ '\\u00e9' }} {{ '\\'' }} {{ '\"' }} {{ '\\x41' }} {{ '\\101' }}", 1234567,
     "233 233 39 34 65 65"},
    {"{{ 0X1f }} {{ 0B1 }} {{ 0O7 }} {{ 1_0.5 }} {{ 1e+3 }} {{ 1E-3 }} {{ 0x1.8p1 }} {{ -0x10 }} "
     "{{ +1.5 }} {{ -.5 }} {{ 1. }} {{ 9223372036854775807 }} {{ -9223372036854775808 }}",
     1234567, "31 1 7 10.5 1000 0.001 3 -16 1.5 -0.5 1 9223372036854775807 -9223372036854775808"},
    {"{{ html (args 1) }} {{ len (args) }} {{ printf \"%v\" (args nil) }} {{ args nil }}", 1234567,
     "map[arg0:1] 0 map[arg0:<nil>] map[arg0:<nil>]"},
    {"{{ strvalue nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <strvalue nil>: error calling strvalue: runtime error: "
     "invalid memory address or nil pointer dereference"},
    {"{{ value nil }}", 1234567,
     "!1:115: executing \"__alert_A\" at <value nil>: error calling value: runtime error: invalid "
     "memory address or nil pointer dereference"},
    {"{{ sortByLabel \"a\" nil }}", 1234567, "[]"},
    {"{{ range sortByLabel \"a\" nil }}x{{ else }}y{{ end }}", 1234567, "y"},
    {"{{ template \"t\" 1 2 }}", 1234567,
     "!1:124: executing \"__alert_A\" at <{{template \"t\" 1 2}}>: template \"t\" not defined"},
    {"{{ graphLink \"a b/\303\274+&?=\\\"\" }} {{ tableLink \"\" }}", 1234567,
     "/graph?g0.expr=a+b%2F%C3%BC%2B%26%3F%3D%22&g0.tab=0 /graph?g0.expr=&g0.tab=1"},
    {"{{ humanize .Labels }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanize .Labels>: error calling humanize: can't convert "
     "map[string]string to float"},
    {"{{ humanizeDuration \"abc\" }}", 1234567,
     "!1:115: executing \"__alert_A\" at <humanizeDuration \"abc\">: error calling "
     "humanizeDuration: strconv.ParseFloat: parsing \"abc\": invalid syntax"},
    {"{{ toTime \"5\" }} {{ toTime \"x\" }}", 1234567,
     "!1:132: executing \"__alert_A\" at <toTime \"x\">: error calling toTime: strconv.ParseFloat: "
     "parsing \"x\": invalid syntax"},
    {"{{ externalURL 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <externalURL>: wrong number of args for externalURL: want "
     "0 got 1"},
    {"{{ with query \"q\" | sortByLabel \"job\" }}{{ . | first | value | humanize }}{{ end }} {{ "
     "with query \"q\" | sortByLabel \"job\" | first }}{{ .Value }}{{ end }}",
     1234567, "11.5 11.5"},
    {"{{ $labels.instance }} of job {{ $labels.job }} at {{ $value | printf \"%.2f\" }}s{{ if gt "
     "$value 100.0 }} (high){{ end }}",
     1234567, "host.example.com:9100 of job api at 1234567.00s (high)"},
    {"{{ print (index (query \"q\" | sortByLabel \"job\") 1).Value }}", 1234567, "22"},
    {"{{ (query \"q\" | sortByLabel \"job\" | first).Labels.job | toUpper }}", 1234567, "A"},
    {"{{ .Labels }} {{ .ExternalLabels.zone }} {{ (.ExternalLabels).zone }} {{ ($labels).job }}",
     1234567, "map[instance:host.example.com:9100 job:api sev:a<b&c\"d] z1 z1 api"},
    {"{{ (toUpper \"x\").y }}", 1234567,
     "!1:124: executing \"__alert_A\" at <\"x\">: can't evaluate field y in type string"},
    {"{{ (index $labels \"job\" | toUpper) | printf \"%s\" }} {{ not (not $value) }} {{ not \"\" "
     "}} {{ not nil }}",
     1234567, "API true true true"},
    {"{{ and nil 1 }} {{ or nil 1 }} {{ or nil nil }} {{ and 1 nil }}", 1234567,
     "<no value> 1 <no value> <no value>"},
    {"{{ $_ := 1 }}{{ $_ }} {{ $a_b1 := 2 }}{{ $a_b1 }}", 1234567, "1 2"},
    {"{{ printf \"%s %s %s\" \"a\" }} {{ printf \"%d %d\" 1 2 3 }} {{ printf \"\" 1 }} {{ printf "
     "\"x\" nil }}",
     1234567, "a %!s(MISSING) %!s(MISSING) 1 2%!(EXTRA int=3) %!(EXTRA int=1) x%!(EXTRA <nil>)"},
    {"{{ printf 5 }}", 1234567, "!1:122: executing \"__alert_A\" at <5>: expected string; found 5"},
    {"{{ printf }}", 1234567,
     "!1:115: executing \"__alert_A\" at <printf>: wrong number of args for printf: want at least "
     "1 got 0"},
    {"{{ 5 | printf }}", 1234567,
     "!1:119: executing \"__alert_A\" at <printf>: wrong type for value; expected string; got int"},
    {"{{ \"%d\" | printf }} {{ 5 | printf \"%d\" }}", 1234567, "%!d(MISSING) 5"},
    {"{{ len \"h\303\251llo\" }} {{ printf \"%-8s|\" \"h\303\251llo\" }} {{ printf \"%.3s|\" "
     "\"h\303\251llo\" }} {{ index \"\303\251\" 0 }}",
     1234567, "6 h\303\251llo   | h\303\251l| 195"},
    {"{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}{{ with 5 }}{{ $x := 3 }}{{ "
     "end }}{{ $x }}{{ range args 1 2 }}{{ $x := 4 }}{{ end }}{{ $x }}",
     1234567, "2111"},
    {"a{{ 1   -}}  b {{-   2  -}}   c{{  3  }}", 1234567, "a1b2c3"},
    {"{{ humanize 1000 }} {{ humanize 1024 }} {{ humanize1024 1024 }} {{ humanize1024 1023 }} {{ "
     "humanize -1000 }} {{ humanize1024 -2048 }} {{ humanize 0.001 }} {{ humanize 1 }} {{ "
     "humanize1024 1 }} {{ humanize1024 0.5 }}",
     1234567, "1k 1.024k 1ki 1023 -1k -2ki 1m 1 1 0.5"},
    {"{{ $y = 1 }}", 1234567, "!1:120: executing \"__alert_A\" at <1>: undefined variable: $y"},
    {"{{ if false }}{{ $q := 1 }}{{ else }}e{{ end }}{{ if 0 }}a{{ else if 0 }}b{{ else if \"x\" "
     "}}c{{ else }}d{{ end }}",
     1234567, "ec"},
    {"{{ range $i, $v := args \"a\" \"b\" \"c\" }}{{ if eq $v \"a\" }}{{ continue }}{{ end }}{{ "
     "with $v }}{{ if eq . \"c\" }}{{ break }}{{ end }}{{ . }}{{ end }}{{ end }}",
     1234567, "b"},
    {"{{ range $labels }}{{ range $externalLabels }}{{ break }}{{ end }}x{{ end }}", 1234567,
     "xxx"},
    {"{{ define \"r\" }}{{ range $k, $v := . }}{{ $k }}:{{ $v }} {{ end }}{{ end }}{{ template "
     "\"r\" $labels }}{{ template \"r\" (args 1) }}",
     1234567, "instance:host.example.com:9100 job:api sev:a<b&c\"d arg0:1 "},
    {"{{ printf \"%#g|%#g|%#.3g|%#e|%#f|%b|%b|%x|%X|%.3x\" 1.5 123456789.0 2.0 1.0 1.0 1.0 -0.5 "
     "1.5 -2.25 1.1 }}",
     1234567,
     "1.50000|1.23456789e+08|2.00|1.000000e+00|1.000000|4503599627370496p-52|-4503599627370496p-53|"
     "0x1.8p+00|-0X1.2P+01|0x1.19ap+00"},
    {"{{ printf \"%#O %#U %T\" 8 65 nil }} {{ eq $labels (args 1) }}", 1234567,
     "!1:150: executing \"__alert_A\" at <eq $labels (args 1)>: error calling eq: non-comparable "
     "type map[arg0:%!s(int=1)]: map[string]interface {}"},
    {"{{ eq $labels $externalLabels }}", 1234567,
     "!1:115: executing \"__alert_A\" at <eq $labels $externalLabels>: error calling eq: "
     "non-comparable type map[region:eu zone:z1]: map[string]string"},
    {"{{ ne (args 1) 5 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <ne (args 1) 5>: error calling ne: incompatible types for "
     "comparison"},
    {"{{ index (toTime 5) 1 }}", 1234567,
     "!1:115: executing \"__alert_A\" at <index (toTime 5) 1>: error calling index: can't index "
     "item of type time.Time"},
    {"{{ len (toTime 5) }}", 1234567,
     "!1:115: executing \"__alert_A\" at <len (toTime 5)>: error calling len: len of type "
     "time.Time"},
    {"{{ call humanize 5 }}", 1234567,
     "!1:120: executing \"__alert_A\" at <humanize>: wrong number of args for humanize: want 1 got "
     "0"},
    {"{{ call }}", 1234567,
     "!1:115: executing \"__alert_A\" at <call>: wrong number of args for call: want at least 1 "
     "got 0"},
    {"{{ . | printf \"%v\" | len }} {{ $.Labels | len }}", 1234567, "123 3"},
    {"{{ with $x := \"a\" }}{{ with $y := \"b\" }}{{ $x }}{{ $y }}{{ . }}{{ end }}{{ . }}{{ end }}",
     1234567, "abba"},
    {"{{- range $k, $v := $labels }}\n  {{ $k }}: {{ $v }}\n{{- end }}", 1234567,
     "\n  instance: host.example.com:9100\n  job: api\n  sev: a<b&c\"d"},
};

/* NULL: accepted; else what is behind the name of the template. */
static const struct {
    const char *text;
    const char *wanted;
} loads[] = {
    {"{{ $value", "1: unclosed action"},
    {"{{ }}", "1: missing value for command"},
    {"{{ $nothing }}", "1: undefined variable \"$nothing\""},
    {"{{ frob 1 }}", "1: function \"frob\" not defined"},
    {"{{ .X } }}", "1: unexpected \"}\" in operand"},
    {"{{ $value } }}", "1: unexpected \"}\" in operand"},
    {"{{ \"open }}", "1: unterminated quoted string"},
    {"{{ `open }}", "1: unterminated raw quoted string"},
    {"{{ 'a }}", "1: unterminated character constant"},
    {"{{ if true }}x", "1: unexpected EOF"},
    {"{{ end }}", "1: unexpected {{end}}"},
    {"{{ else }}", "1: unexpected {{else}}"},
    {"{{ if true }}{{ else }}{{ else }}{{ end }}", "1: expected end; found {{else}}"},
    {"{{ break }}", "1: {{break}} outside {{range}}"},
    {"{{ continue }}", "1: {{continue}} outside {{range}}"},
    {"{{ range }}{{ end }}", "1: missing value for range"},
    {"{{ if }}{{ end }}", "1: missing value for if"},
    {"{{ (1 }}", "1: unclosed left paren"},
    {"{{ 1) }}", "1: unexpected \")\" in command"},
    {"{{ ( ) }}", "1: missing value for parenthesized pipeline"},
    {"{{ 1 | 2 }}", "1: non executable command in pipeline stage 2"},
    {"{{ $value | . }}", "1: non executable command in pipeline stage 2"},
    {"{{ 1 | \"x\" }}", "1: non executable command in pipeline stage 2"},
    {"{{ 1 | true }}", "1: non executable command in pipeline stage 2"},
    {"{{ 1 | $value }}", NULL},
    {"{{ @ }}", "1: unexpected \"@\" in command"},
    {"{{ \303\251 }}", "1: function \"\303\251\" not defined"},
    {"{{ a@b }}", "1: bad character U+0040 '@'"},
    {"{{ .a@b }}", "1: bad character U+0040 '@'"},
    {"{{ 1a }}", "1: bad number syntax: \"1a\""},
    {"{{ 1.2.3 }}", "1: unexpected \".3\" in operand"},
    {"{{ 99999999999999999999 }}", "1: integer overflow: \"99999999999999999999\""},
    {"{{ \"\\q\" }}", "1: invalid syntax"},
    {"{{ 'ab' }}", "1: malformed character constant: 'ab'"},
    {"{{ \"a\".\"b\" }}", "1: bad character U+0022 '\"'"},
    {"{{ \"a\".b }}", "1: unexpected . after term \"\\\"a\\\"\""},
    {"{{ 1.b }}", "1: bad number syntax: \"1.b\""},
    {"{{ nil.b }}", "1: unexpected . after term \"nil\""},
    {"{{ ..b }}", "1: unexpected . after term \".\""},
    {"{{ .b. }}", "1: unexpected <.> in operand"},
    {"{{ $x : 1 }}", "1: undefined variable \"$x\""},
    {"{{ $x = 1 }}", NULL},
    {"{{ $x, $y := 1 }}", "1: too many declarations in command"},
    {"{{ range $x, $y, $z := $labels }}{{ end }}", "1: too many declarations in range"},
    {"{{ range $x, 1 := $labels }}{{ end }}", "1: range can only initialize variables"},
    {"{{/* open }}", "1: unclosed comment"},
    {"{{/* a */ b }}", "1: comment ends before closing delimiter"},
    {"{{ define }}{{ end }}", "1: unexpected \"}}\" in define clause"},
    {"{{ define \"x\" }}", "1: unexpected EOF"},
    {"{{ define x }}{{ end }}", "1: unexpected \"x\" in define clause"},
    {"{{ if true }}{{ define \"x\" }}{{ end }}{{ end }}", "1: unexpected <define> in command"},
    {"{{ template x }}", "1: unexpected \"x\" in template clause"},
    {"{{ template }}", "1: unexpected \"}}\" in template clause"},
    {"{{ template \"x\" 1 2 3", "1: unclosed action"},
    {"{{ define \"x\" }}a{{ end }}{{ define \"x\" }}b{{ end }}",
     "1: template: multiple definition of template \"x\""},
    {"{{ block \"x\" }}{{ end }}", "1: missing value for block clause"},
    {"{{ end foo }}", "1: unexpected \"foo\" in end"},
    {"{{ else foo }}", "1: unexpected \"foo\" in else"},
    {"{{ if true }}{{ else foo }}{{ end }}", "1: unexpected \"foo\" in else"},
    {"{{ tmpl \"x\" 1 }}", "1: function \"tmpl\" not defined"},
    {"{{ $labels.foo-bar }}", "1: bad character U+002D '-'"},
    {"{{ $value|}}", NULL},
    {"{{ | 1 }}", "1: unexpected \"|\" in command"},
    {"{{ 1 || 2 }}", "1: unexpected \"|\" in command"},
    {"{{ printf \"%d\" 1, 2 }}", "1: unexpected \",\" in operand"},
    {"{{ abcdefghijklmnop }}", "1: function \"abcdefghijklmnop\" not defined"},
    {"{{ 1 \"abcdefghijklmnop\" + }}", "1: illegal number syntax: \"+\""},
    {"{{ {{ 1 }} }}", "1: unexpected \"{\" in command"},
    {"{{ 1 + 2 }}", "1: illegal number syntax: \"+\""},
    {"{{ 1 == 2 }}", "1: unexpected \"=\" in operand"},
    {"{{ $value > 5 }}", "1: unexpected \">\" in operand"},
    {"{{ if $value > 5 }}{{ end }}", "1: unexpected \">\" in operand"},
    {"{{ $a.b := 1 }}", "1: undefined variable \"$a\""},
    {"{{ 0x }}", "1: illegal number syntax: \"0x\""},
    {"{{ 08 }}", "1: integer overflow: \"08\""},
    {"{{ 1e }}", "1: illegal number syntax: \"1e\""},
    {"{{ .5.3 }}", "1: unexpected \".3\" in operand"},
    {"{{ '' }}", "1: invalid syntax"},
    {"{{ break 1 }}", "1: unexpected \"1\" in {{break}}"},
    {"{{ range $labels }}{{ break 1 }}{{ end }}", "1: unexpected \"1\" in {{break}}"},
    {"{{ define \"a\" }}{{ break }}{{ end }}", "1: {{break}} outside {{range}}"},
    {"{{ range $labels }}{{ define \"a\" }}x{{ end }}{{ end }}",
     "1: unexpected <define> in command"},
    {"{{ range $labels }}{{ block \"a\" . }}{{ break }}{{ end }}{{ end }}",
     "1: {{break}} outside {{range}}"},
    {"{{ define \"a\" }}{{ $value }}{{ end }}", "1: undefined variable \"$value\""},
    {"{{ block \"a\" . }}{{ $value }}{{ end }}", "1: undefined variable \"$value\""},
    {"{{ if true }}{{ $y := 1 }}{{ end }}{{ $y }}", "1: undefined variable \"$y\""},
    {"{{- 1 -}}x{{-1}}", NULL},
    {"{{ 1 -}}x{{ 1-}}", "1: bad number syntax: \"1-\""},
    {"}}", NULL},
    {"{{", "1: unclosed action"},
    {"{{ true.x }}", "1: unexpected . after term \"true\""},
    {"{{ \"a\" \"b }}", "1: unterminated quoted string"},
    {"{{ !x }}", "1: unexpected \"!\" in command"},
    {"{{ and true }", "1: unexpected \"}\" in operand"},
    {"a\nb {{ frob }}", "2: function \"frob\" not defined"},
    {"a\n{{ .x\n y", "3: function \"y\" not defined"},
    {"{{ if 1 }}\n\n{{ 5", "3: unclosed action"},
    {"{{ (1\n }}", "2: unclosed left paren in action started at __alert_A:1"},
    {"{{ \"a\nb\" }}", "1: unterminated quoted string"},
    {"{{\n\"a\"\n@ }}", "3: unexpected \"@\" in operand"},
    {"{{ `a\nb` | frob }}", "2: function \"frob\" not defined"},
    {"x\n{{ range 1 }}\n\nfoo", "4: unexpected EOF"},
    {"{{ $x }}", "1: undefined variable \"$x\""},
    {"{{ \"x\".foo }}", "1: unexpected . after term \"\\\"x\\\"\""},
    {"{{ `a\\Nb` }}{{ \"a\\\\n\\u00e9\\x41\\101\\U0001F600\\'\" }}", "1: invalid syntax"},
    {"{{ $labels.job.foo }}{{ end }}", "1: unexpected {{end}}"},
    {"{{ with 1 }}{{ else if 1 }}{{ end }}", "1: unexpected <if> in input"},
    {"{{ range $labels }}{{ else if 1 }}{{end}}", "1: unexpected <if> in input"},
    {"{{ define \"x\" }}{{ else }}{{ end }}", "1: unexpected {{else}} in define clause"},
    {"{{ block \"x\" 1 }}{{ else }}{{ end }}", "1: unexpected {{else}} in block clause"},
    {"{{ template \"x\" | }}", "1: unexpected \"|\" in template clause"},
    {"{{ $x := }}", "1: missing value for command"},
    {"{{ $x := 1 := 2 }}", "1: unexpected \":=\" in operand"},
    {"{{ .x := 1 }}", "1: unexpected \":=\" in operand"},
    {"{{ 1 := 2 }}", "1: unexpected \":=\" in operand"},
    {"{{ $x, := 1 }}", "1: too many declarations in command"},
    {"{{ range $x, := 1 }}{{end}}", "1: range can only initialize variables"},
    {"{{ range $x }}{{end}}", "1: undefined variable \"$x\""},
    {"{{ range $x, $y }}{{end}}", "1: undefined variable \"$y\""},
    {"{{ ( 1 | 2 ) }}", "1: non executable command in pipeline stage 2"},
    {"{{ ((((1)))) }}", NULL},
    {"{{ (1) (2) }}", NULL},
    {"{{ (1)(2) }}", "1: unexpected \"(\" in operand"},
    {"{{ 1(2) }}", "1: unexpected \"(\" in operand"},
    {"{{ \"a\"(2) }}", "1: unexpected \"(\" in operand"},
    {"{{ $value(2) }}", "1: unexpected \"(\" in operand"},
    {"{{ .x(1) }}", "1: unexpected \"(\" in operand"},
    {"{{ .x.(1) }}", "1: unexpected <.> in operand"},
    {"{{ .x.1 }}", "1: unexpected \".1\" in operand"},
    {"{{ .1x }}", "1: bad number syntax: \".1x\""},
    {"{{ .\303\251 }}", NULL},
    {"{{ .x-y }}", "1: bad character U+002D '-'"},
    {"{{ $ }}", NULL},
    {"{{ $. }}", "1: unexpected <.> in operand"},
    {"{{ $.x }}", NULL},
    {"{{ $1 }}", "1: undefined variable \"$1\""},
    {"{{ $\303\251 := 1 }}{{ $\303\251 }}", NULL},
    {"{{ \\ }}", "1: unexpected \"\\\\\" in command"},
    {"{{ # }}", "1: unexpected \"#\" in command"},
    {"{{ \342\202\254 }}", "1: unrecognized character in action: U+20AC '\342\202\254'"},
    {"{{ \001 }}", "1: unrecognized character in action: U+0001"},
    {"{{ \"\\400\" }}", "1: invalid syntax"},
    {"{{ \"\\ud800\" }}", "1: invalid syntax"},
    {"{{ \"\\U00110000\" }}", "1: invalid syntax"},
    {"{{ \"\\'\" }}", "1: invalid syntax"},
    {"{{ '\\\"' }}", "1: invalid syntax"},
    {"{{ \"\\x4\" }}", "1: invalid syntax"},
    {"{{ '\\x4' }}", "1: invalid syntax"},
    {"{{ 'a", "1: unterminated character constant"},
    {"{{ \"a\\", "1: unterminated quoted string"},
    {"{{ 1e400 }}", "1: illegal number syntax: \"1e400\""},
    {"{{ 0x1p }}", "1: illegal number syntax: \"0x1p\""},
    {"{{ 1__0 }}", "1: illegal number syntax: \"1__0\""},
    {"{{ _1 }}", "1: function \"_1\" not defined"},
    {"{{ 1_ }}", "1: illegal number syntax: \"1_\""},
    {"{{ 0_1 }}", NULL},
    {"{{ 0x_1 }}", NULL},
    {"{{ 09.5 }}", NULL},
    {"{{ 0b2 }}", "1: bad number syntax: \"0b2\""},
    {"{{ 0o8 }}", "1: bad number syntax: \"0o8\""},
    {"{{ 1.e3 }}", NULL},
    {"{{ - }}", "1: illegal number syntax: \"-\""},
    {"{{ -a }}", "1: bad number syntax: \"-a\""},
    {"{{ 1-1 }}", "1: bad number syntax: \"1-1\""},
    {"{{ 1 -1 }}", NULL},
    {"{{ 1,2 }}", "1: unexpected \",\" in operand"},
    {"{{ if }}", "1: missing value for if"},
    {"{{ end", "1: unclosed action"},
    {"{{ else", "1: unclosed action"},
    {"{{ end }", "1: unexpected \"}\" in end"},
    {"{{if 1}}{{end}}{{end}}", "1: unexpected {{end}}"},
    {"{{if 1}}{{else}}{{end}}{{else}}", "1: unexpected {{else}}"},
    {"{{break", "1: unclosed action"},
    {"{{ range 1 }}{{ break }}", "1: unexpected EOF"},
    {"{{/**/}}", NULL},
    {"{{- /* x */ -}}", NULL},
    {"{{-/* x */-}}", "1: illegal number syntax: \"-\""},
    {"{{ /* x */ }}", "1: unexpected \"/\" in command"},
    {"{{/* x */ -}}", NULL},
    {"{{ `a", "1: unterminated raw quoted string"},
    {"{{ define `x` }}{{ end }}", NULL},
    {"{{ define \"x\" 1 }}{{ end }}", "1: unexpected \"1\" in define clause"},
    {"{{ define \"\\q\" }}{{end}}", "1: invalid syntax"},
    {"{{ define \"x\" }}a{{ end }}{{ define \"x\" }} {{ end }}", NULL},
    {"{{ define \"x\" }}{{ end }}{{ define \"x\" }}b{{ end }}", NULL},
    {"{{ if $x := 1 }}{{ end }}{{ $x }}", "1: undefined variable \"$x\""},
    {"{{ with $x := 1 }}{{ else }}{{ $x }}{{ end }}", NULL},
    {"{{ $x := 1 }}{{ define \"q\" }}{{ $x }}{{ end }}", "1: undefined variable \"$x\""},
    {"{{ $x := $x }}", NULL},
    {"{{ nil | humanize }}", NULL},
    {"{{ humanize | nil }}", "1: non executable command in pipeline stage 2"},
    {"{{ 1 | humanize.x }}", NULL},
    {"{{ (1).x.y }}", NULL},
    {"{{ 'a'.x }}", "1: unexpected . after term \"'a'\""},
    {"{{ \"abcdefghijklm\".x }}", "1: unexpected . after term \"\\\"abcdefghijklm\\\"\""},
    {"{{ printf \"%d\" }}", NULL},
    {"{{ end | 1 }}", "1: unexpected \"|\" in end"},
    {"{{ else | 1 }}", "1: unexpected \"|\" in else"},
    {"{{ block x }}", "1: unexpected \"x\" in block clause"},
    {"{{ template \"a\" 1 }} {{ }}", "1: missing value for command"},
    {"{{ if 1 }}\n{{ else }}\n{{ frob }}\n{{ end }}", "3: function \"frob\" not defined"},
    {"\n\n{{ \"a\n\" }}", "3: unterminated quoted string"},
    {"{{ /* a\n\n*/ }}", "1: unexpected \"/\" in command"},
    {"{{/* a\n\n*/}}{{ frob }}", "3: function \"frob\" not defined"},
    {"{{\n\n}}", "3: missing value for command"},
    {"{{ `\n\n` frob }}", "3: function \"frob\" not defined"},
    {"{{ 1\n2\n3 frob }}", "3: function \"frob\" not defined"},
    {"{{ template \"x\"\n\n 1", "3: unclosed action started at __alert_A:1"},
    {"{{ continue | 1 }}", "1: unexpected \"|\" in {{continue}}"},
    {"{{define \"x\"}}{{define \"y\"}}{{end}}{{end}}", "1: unexpected <define> in command"},
    {"{{ (printf \"a\"\n }}\n", "2: unclosed left paren in action started at __alert_A:1"},
    {"{{ if (1 }}", "1: unclosed left paren"},
    {"{{ frob", "1: function \"frob\" not defined"},
    {"{{ $labels.a b }}", "1: function \"b\" not defined"},
    {"{{ $labels . a }}", "1: function \"a\" not defined"},
    {"{{ . . }}", NULL},
    {"{{ .. }}", "1: unexpected <.> in operand"},
    {"{{ .a. }}", "1: unexpected <.> in operand"},
    {"{{ ... }}", "1: unexpected <.> in operand"},
    {"{{ a.b }}", "1: function \"a\" not defined"},
    {"{{ humanize.b }}", NULL},
    {"{{ {{ }}", "1: unexpected \"{\" in command"},
    {"{{{ 1 }}}", "1: unexpected \"{\" in command"},
    {"{{ } }}", "1: unexpected \"}\" in command"},
    {"{{ }}}", "1: missing value for command"},
    {"{{ 1}}}", NULL},
    {"{{ % }}", "1: unexpected \"%\" in command"},
    {"{{ & }}", "1: unexpected \"&\" in command"},
    {"{{ 1; }}", "1: unexpected \";\" in operand"},
    {"{{ \"x\" \"yyyyyyyyyyyyyyyyyy\" * }}", "1: unexpected \"*\" in operand"},
    {"{{ template 1 }}", "1: unexpected \"1\" in template clause"},
    {"{{ template \"x\" } }}", "1: unexpected \"}\" in template clause"},
    {"{{ range 1 }}{{ end }}{{ break }}", "1: {{break}} outside {{range}}"},
    {"{{ range 1 }}{{ else }}{{ break }}{{ end }}", "1: {{break}} outside {{range}}"},
    {"{{ if true }}{{ break }}{{ end }}", "1: {{break}} outside {{range}}"},
};
