//! The page in a browser, at the width of a desktop and of a phone, in light and in dark. The page runs no program, so another
//! page that holds it in a frame measures it.

use super::sample::{Sample, demo, empty_archive, hostile, huge, small};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use wyng_testkit::pools::{TempDir, need_tool};

const BROWSER: &str = "chromium-headless-shell";

/// Measures the page in the frame: what is wider than it, what is not drawn, and which texts are hard to read.
const MEASURE: &str = r"
const numbers = text => (text.match(/[\d.]+/g) || []).map(Number);
const light = rgb => {
  const [r, g, b] = rgb.slice(0, 3).map(c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
addEventListener('load', () => {
  const frame = document.getElementById('frame');
  const view = frame.contentWindow, inner = frame.contentDocument, root = inner.documentElement;
  const style = element => view.getComputedStyle(element);
  const below = element => {
    for (; element; element = element.parentElement) {
      const colour = numbers(style(element).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const wide = [], faint = [], flat = [];
  for (const element of inner.body.querySelectorAll('*')) {
    if (element.closest('.scroll') && !element.matches('.scroll')) continue;
    if (element.closest('.defs') || element.closest('defs')) continue;
    const box = element.getBoundingClientRect();
    if (box.right > root.clientWidth + 0.5 || box.left < -0.5) wide.push(element.outerHTML.slice(0, 120));
  }
  for (const element of inner.body.querySelectorAll('p,h1,h2,h3,dt,dd,th,td,li,span,a,summary,text')) {
    if (element.textContent.trim() === '') continue;
    const colour = numbers(element.matches('text') ? style(element).fill : style(element).color);
    const [a, b] = [light(colour), light(below(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(element.outerHTML.slice(0, 120));
  }
  for (const element of inner.querySelectorAll('svg.chart, .spark, .meter')) {
    const box = element.getBoundingClientRect();
    if (box.width < 60 || box.height < 6) flat.push(element.outerHTML.slice(0, 120));
  }
  const first = inner.querySelector('svg.chart .b, svg.chart .f');
  document.body.textContent = 'MEASURED' + JSON.stringify({
    width: root.scrollWidth, room: root.clientWidth, height: root.scrollHeight,
    page: style(inner.body).backgroundColor, wide, faint, flat,
    bars: inner.querySelectorAll('svg.chart .b, svg.chart .f').length,
    bar: first ? style(first).fill : null,
    images: inner.querySelectorAll('svg:not([aria-hidden]):not([role=img])').length,
    unnamed: [...inner.querySelectorAll('[role=img]')].filter(image => !image.getAttribute('aria-label')).length,
    tables: [...inner.querySelectorAll('th')].filter(head => !head.getAttribute('scope')).length,
    scripts: inner.scripts.length,
  }) + 'END';
});
";

/// `None` (aloud, or with a failure) if there is no browser.
fn browser() -> Option<TempDir> {
    need_tool(BROWSER).then(TempDir::new)
}

/// Runs the browser. Gives its standard output; complaints of the page end the test.
fn run(home: &TempDir, dark: bool, arguments: &[String]) -> String {
    let output = Command::new(BROWSER)
        .args([
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", home.path().join("profile").display()))
        .arg(format!("--blink-settings=preferredColorScheme={}", i32::from(!dark)))
        .args(arguments)
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{complaints}");
    let console: Vec<&str> = complaints.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(console, Vec::<&str>::new());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}

/// The page as a browser shows it in a window of this width.
fn measured(home: &TempDir, sample: &Sample, width: u32, dark: bool) -> Value {
    let outer = format!(
        "<!DOCTYPE html><meta charset=utf-8><body style='margin:0'>\
         <iframe id=frame style='border:0;width:{width}px;height:900px' srcdoc=\"{}\"></iframe><script>{MEASURE}</script>",
        escaped(&sample.page())
    );
    let path = home.path().join("outer.html");
    std::fs::write(&path, outer).unwrap();
    let window = format!("--window-size={},1000", width.max(1400));
    let dom = run(
        home,
        dark,
        &["--dump-dom".to_owned(), window, format!("file://{}", path.display())],
    );
    let (_, rest) = dom
        .split_once("<body style=\"margin:0\">MEASURED")
        .unwrap_or_else(|| panic!("{dom:.2000}"));
    let text = rest.split_once("END").unwrap().0;
    // As the browser writes text.
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&");
    serde_json::from_str(&text).unwrap()
}

/// Takes a picture, kept where `WYNG_REPORT_PICTURES` says.
fn picture(home: &TempDir, sample: &Sample, name: &str, width: u32, dark: bool) -> Vec<u8> {
    let kept = std::env::var_os("WYNG_REPORT_PICTURES").map(PathBuf::from);
    let file = format!("{name}-{width}-{}.png", if dark { "dark" } else { "light" });
    let path = kept.unwrap_or_else(|| home.path().to_path_buf()).join(file);
    let page = home.path().join("page.html");
    std::fs::write(&page, sample.page()).unwrap();
    let arguments = [
        format!("--screenshot={}", path.display()),
        format!("--window-size={width},1800"),
        format!("file://{}", page.display()),
    ];
    run(home, dark, &arguments);
    std::fs::read(path).unwrap()
}

#[test]
fn a_browser_shows_the_page_at_any_width_in_light_and_dark() {
    let Some(home) = browser() else { return };
    for (name, sample) in [
        ("demo", demo()),
        ("small", small()),
        ("empty", empty_archive()),
        ("hostile", hostile()),
        ("large", huge(12, 500)),
    ] {
        for (width, dark) in [(1280, false), (390, true), (1280, true), (390, false)] {
            // The colours of all are the same.
            if name != "demo" && (dark == (width == 1280)) {
                continue;
            }
            let found = measured(&home, &sample, width, dark);
            let at = format!("{name}, {width} px, dark {dark}: {found:#}");
            assert_eq!(
                (&found["width"], &found["room"]),
                (&width.into(), &width.into()),
                "{at}"
            );
            for none in ["wide", "faint", "flat"] {
                assert_eq!(found[none].as_array().unwrap().len(), 0, "{at}");
            }
            for zero in ["images", "unnamed", "tables", "scripts"] {
                assert_eq!(found[zero], 0, "{zero}: {at}");
            }
            let ground = if dark { "rgb(17, 22, 28)" } else { "rgb(244, 246, 248)" };
            assert_eq!(found["page"], ground, "the style sheet is applied: {at}");
            let bars = found["bars"].as_u64().unwrap();
            assert_eq!(bars > 0, name != "empty", "{at}");
        }
    }
}

#[test]
fn a_browser_draws_the_page_without_a_complaint() {
    let Some(home) = browser() else { return };
    let mut sizes = Vec::new();
    for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
        let picture = picture(&home, &demo(), "demo", width, dark);
        assert!(picture.starts_with(b"\x89PNG"));
        let side = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
        assert_eq!((side(16), side(20)), (width, 1800));
        sizes.push(picture.len());
    }
    // One without the volumes and their pictures is smaller.
    let empty = picture(&home, &empty_archive(), "empty", 1280, false).len();
    assert!(sizes[0] > empty * 4 / 3, "{sizes:?}, {empty}");
    picture(&home, &hostile(), "hostile", 1280, false);
    picture(&home, &huge(12, 500), "large", 390, true);
}
