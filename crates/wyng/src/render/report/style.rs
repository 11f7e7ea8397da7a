//! How the page looks: its style sheet, in light and in dark, and the shapes that mark sessions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

/// The only style sheet. Nothing of the page has a style of its own, so that the policy can name this one alone.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f4f6f8;--card:#fff;--text:#1a2129;--soft:#566270;--line:#d8dee6;--bar:#2f6db5;\
--tag:#0b7a6f;--held:#6a45a8;--gone:#b8431a;--bad:#a81e1e;--badly:#fdeeee;--good:#1d6b3a;--goodly:#ecf6ef}
@media(prefers-color-scheme:dark){:root{--page:#11161c;--card:#1a2129;--text:#e5eaf0;--soft:#9dabba;--line:#323d49;\
--bar:#6ea8ec;--tag:#46c2b2;--held:#b99bf3;--gone:#f28d60;--bad:#ff8a80;--badly:#3a1e1f;--good:#7ed39b;--goodly:#1a2e22}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,\
'Noto Sans','DejaVu Sans',sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
footer{padding-bottom:40px;color:var(--soft);font-size:13px}
h1{font-size:22px;line-height:1.3;margin:0}
h2{font-size:18px;margin:32px 0 10px}
h3{font-size:16px;margin:0}
p{margin:4px 0}
a{color:var(--bar)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid var(--bar);outline-offset:2px}
.soft{color:var(--soft)}
header time,.nb{white-space:nowrap}
.brand{color:var(--soft);font-size:13px;letter-spacing:.04em;margin-bottom:2px}
.box{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px}
.state{border-left:5px solid var(--good);background:var(--goodly);margin-top:18px}
.state.bad{border-left-color:var(--bad);background:var(--badly)}
.state h2{margin:0 0 4px;font-size:16px}
.state ul,.damage ul{margin:4px 0;padding-left:22px}
.damage{border-left:4px solid var(--bad);padding-left:12px;margin:8px 0}
dl.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:12px;margin:18px 0 0}
dl.cards dt{color:var(--soft);font-size:13px}
dl.cards dd{margin:0}
dl.cards .figure{font-size:22px;font-weight:600;line-height:1.35}
dl.cards .note{font-size:13px;color:var(--soft)}
.meter{display:block;width:100%;height:8px;margin:6px 0}
.meter .all{fill:var(--line)}
.meter .used{fill:var(--bar)}
.scroll{overflow-x:auto;padding:0}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:7px 12px;border-top:1px solid var(--line);vertical-align:top;white-space:nowrap;\
font-variant-numeric:tabular-nums}
thead th{border-top:0;color:var(--soft);font-weight:600;font-size:13px}
th[scope=row]{font-weight:600}
.name{white-space:normal;min-width:140px;max-width:340px}
.number{text-align:right}
.spark{vertical-align:middle}
.spark path{stroke:var(--bar);stroke-width:3;fill:none}
.bad-text{color:var(--bad);font-weight:600}
.gone-text{color:var(--gone);font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:6px 22px;list-style:none;margin:0;padding:12px 18px;font-size:13px}
.legend li{display:flex;align-items:center;gap:8px}
.legend svg,.tags svg{flex:none}
.volume{margin-top:14px;content-visibility:auto;contain-intrinsic-size:auto 300px}
.facts{color:var(--soft);font-size:13px}
.chart{display:block;width:calc(100% - 20px);height:116px;margin:12px 10px 0;overflow:visible}
.chart text{fill:var(--soft);font-size:11px}
.grid{stroke:var(--line)}
.faint{stroke-dasharray:2 4}
.b{fill:var(--bar)}
.f{fill:var(--card);stroke:var(--bar);stroke-dasharray:4 2}
.u{fill:none;stroke:var(--soft);stroke-dasharray:1 2}
.s{fill:var(--text)}
.h{fill:var(--held)}
.t{fill:var(--tag)}
.x{stroke:var(--gone);stroke-width:2.4;fill:none}
.end{fill:var(--card);stroke:var(--text);stroke-width:2}
g:hover .b,g:hover .f{fill:var(--text)}
.tags{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;margin:6px 0;padding:0;font-size:13px}
.tags li{display:flex;align-items:center;gap:6px}
details{margin-top:8px}
summary{cursor:pointer;font-size:14px;color:var(--bar)}
details .scroll{margin-top:6px}
details td,details th{padding:4px 12px}
.defs{position:absolute;width:0;height:0}
dl.words{display:grid;grid-template-columns:minmax(110px,max-content) 1fr;gap:4px 16px;margin:8px 0}
dl.words dt{font-weight:600}
dl.words dd{margin:0}
@media(max-width:600px){header,main,footer{padding-left:12px;padding-right:12px}h1{font-size:19px}\
.box{padding:12px}.scroll{padding:0}dl.cards{grid-template-columns:1fr 1fr;gap:8px}dl.cards .figure{font-size:18px}\
dl.words{grid-template-columns:1fr}dl.words dd{margin-bottom:6px}.legend{padding:10px 12px}.wide{display:none}}
@media print{body{background:#fff}.box{break-inside:avoid}}
";

/// What the page may do: show this style sheet, and nothing else: no program, nothing from elsewhere.
pub(super) fn policy() -> String {
    let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
}

pub(super) fn style() -> Markup {
    html! { style { (PreEscaped(STYLE)) } }
}

/// The shapes that mark sessions, 12 px in size around the origin. `s` is a session, `h` one that is held, `x` one that goes
/// next, `t` a tag, `n` the end of the time line.
pub(super) fn shapes() -> Markup {
    html! {
        svg class="defs" aria-hidden="true" focusable="false" {
            defs {
                circle id="s" class="s" r="3" {}
                rect id="h" class="h" x="-5" y="-5" width="10" height="10" {}
                path id="x" class="x" d="M-4-4 4 4M-4 4 4-4" {}
                path id="t" class="t" d="M0-6 5 0 0 6-5 0z" {}
                circle id="n" class="end" r="3.5" {}
            }
        }
    }
}

/// One of the shapes by itself, in a text that says the same.
pub(super) fn shape(id: &str) -> Markup {
    html! {
        svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true" focusable="false" {
            use href={ "#" (id) } {}
        }
    }
}
