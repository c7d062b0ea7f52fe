//! The status page in a real browser: what a person sees, with and without JavaScript.
//!
//! Pictures of it, light, dark and as wide as a phone, are left in the target folder.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod process;
mod served;

use std::path::Path;
use std::time::Duration;

use monitor_testkit::services::Browser;
use monitor_testkit::targets::{Refusing, Target};
use serde_json::{Value, json};
use served::Served;
use thirtyfour::prelude::*;

/// Far longer than anything takes; only a hang gets here.
const HANG: Duration = Duration::from_secs(60);

/// A daemon with one monitor that can be switched and one that is down, and a page of it.
struct Page {
    driver: WebDriver,
    served: Served,
    target: Target,
    // Held for as long as they shall be there.
    refusing: Refusing,
    browser: Browser,
}

impl Page {
    async fn open() -> Self {
        let target = Target::flapping().await.unwrap();
        let refusing = Refusing::new().unwrap();
        let served = Served::start(&format!(
            "[[monitor]]\nid = \"shop\"\nname = \"Shop\"\nurl = {:?}\ninterval = \"200ms\"\n\
             timeout = \"1m\"\n\
             [[monitor]]\nid = \"ftp\"\nname = \"Legacy FTP\"\ntcp = \"{}\"\ninterval = \"1s\"\n",
            target.url(),
            refusing.addr()
        ));
        let mut stream = served.stream().await;
        stream.result("shop", "up").await;
        if served.history("ftp").await.is_empty() {
            stream.result("ftp", "down").await;
        }
        let browser = Browser::start().unwrap();
        let Value::Object(capabilities) = browser.capabilities() else {
            panic!("no object")
        };
        let driver = WebDriver::new(browser.url(), Capabilities::from(capabilities))
            .await
            .unwrap();
        driver.set_script_timeout(HANG).await.unwrap();
        let page = Self {
            driver,
            served,
            target,
            refusing,
            browser,
        };
        page.visit().await;
        page
    }

    async fn visit(&self) {
        self.driver.goto(&self.served.base).await.unwrap();
    }

    async fn evaluate(&self, expression: &str) -> Value {
        evaluate(&self.driver, expression).await
    }

    async fn until(&self, condition: &str) {
        until(&self.driver, condition).await;
    }

    async fn devtools(&self, method: &str, parameters: Value) {
        self.driver
            .cdp()
            .send_raw(method, parameters)
            .await
            .unwrap();
    }

    async fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    async fn width(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    async fn picture(&self, name: &str) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        self.driver.screenshot(&path).await.unwrap();
    }

    /// Ends the session, after a look at what the browser complained about.
    async fn close(self) {
        let log = self.driver.browser_log().await.unwrap();
        let errors: Vec<_> = log.iter().filter(|entry| entry.level == "SEVERE").collect();
        assert!(errors.is_empty(), "{errors:#?}");
        self.driver.quit().await.unwrap();
    }
}

async fn evaluate(driver: &WebDriver, expression: &str) -> Value {
    let script = format!("return ({expression});");
    driver
        .execute(script, Vec::new())
        .await
        .unwrap()
        .json()
        .clone()
}

/// Waits until `condition` holds, looking again whenever the document changes.
async fn until(driver: &WebDriver, condition: &str) {
    let script = format!(
        "const done = arguments[arguments.length - 1];
         const holds = () => {{ try {{ return !!({condition}); }} catch {{ return false; }} }};
         if (holds()) done(true);
         else new MutationObserver((_, observer) => {{
           if (holds()) {{ observer.disconnect(); done(true); }}
         }}).observe(document, {{
           subtree: true, childList: true, characterData: true, attributes: true
         }});"
    );
    let held = driver.execute_async(script, Vec::new()).await;
    assert!(held.is_ok(), "never: {condition}: {held:?}");
}

const H1: &str = "document.querySelector('h1').textContent";

/// OPS-34: what happens is on the page without a reload, and what is open or in focus stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_arrives_without_a_reload() {
    let page = Page::open().await;
    page.until(&format!("{H1} === '1 of 2 is up'")).await;
    page.until("document.getElementById('live').classList.contains('on')")
        .await;
    page.evaluate("window.stays = 'the same document'").await;
    let summary = page.driver.find(By::Id("m-shop.row")).await.unwrap();
    summary.click().await.unwrap();
    page.evaluate("document.querySelector('#m-shop [data-action=trigger]').focus()")
        .await;

    page.target.set_up(false);
    page.until(&format!("{H1} === 'None of 2 is up'")).await;
    page.until("document.querySelectorAll('.incident').length === 2")
        .await;
    page.until("document.querySelector('#m-shop .mark').classList.contains('down')")
        .await;
    page.until("document.title.startsWith('None of 2 is up')")
        .await;
    page.target.set_up(true);
    page.until(&format!("{H1} === '1 of 2 is up'")).await;

    assert_eq!(page.evaluate("window.stays").await, "the same document");
    assert_eq!(
        page.evaluate("document.getElementById('m-shop').open")
            .await,
        true
    );
    assert_eq!(
        page.evaluate("document.activeElement.dataset.action").await,
        "trigger"
    );
    page.close().await;
}

/// A monitor that is added or deleted comes and goes on an open page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_and_go() {
    let page = Page::open().await;
    page.until("document.getElementById('live').classList.contains('on')")
        .await;
    page.evaluate("window.stays = true").await;
    page.evaluate("document.getElementById('m-ftp').open = true")
        .await;
    let url = page.target.url();
    page.served
        .define(json!({ "id": "new", "name": "Brand new", "url": url }))
        .await;
    page.until("document.getElementById('m-new')").await;
    page.until(&format!("{H1} === '2 of 3 are up'")).await;
    assert_eq!(
        page.evaluate("document.getElementById('m-ftp').open").await,
        true
    );
    let path = "/api/v1/monitors/new";
    page.served
        .send(reqwest::Method::DELETE, path, &json!({}))
        .await;
    page.until("!document.getElementById('m-new')").await;
    assert_eq!(page.evaluate("window.stays").await, true);
    page.close().await;
}

/// A time ahead counts down also when it is far and no event comes to draw it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_times_count_down_too() {
    let page = Page::open().await;
    // Each text holds for most of a minute or longer: this machine may take its time to look.
    for (far_s, shown) in [
        (59, "/^in [1-5]?[0-9] s$/"),
        (300 + 59, "/^in 5 min [0-9]+ s$/"),
        (2 * 3600 + 119, "/^in 2 h 1 min$/"),
        (3 * 86_400 + 2 * 3600 + 3599, "/^in 3 d 2 h$/"),
    ] {
        let add = format!(
            "(document.body.insertAdjacentHTML('beforeend', '<time id=f{far_s} data-until=' + \
             (Date.now() + {far_s}000) + '>before</time>'), true)"
        );
        page.evaluate(&add).await;
        let text = format!("document.getElementById('f{far_s}').textContent");
        page.until(&format!("{shown}.test({text})")).await;
    }
    page.evaluate("window.before = document.getElementById('f359').textContent")
        .await;
    page.until("document.getElementById('f359').textContent !== window.before")
        .await;
    page.close().await;
}

/// The operator's actions work from the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_work() {
    let page = Page::open().await;
    page.driver
        .find(By::Id("m-shop.row"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    let button = |action: &str| format!("document.querySelector('#m-shop [data-action={action}]')");
    page.evaluate(&format!("{}.click()", button("pause"))).await;
    page.until("document.querySelector('#m-shop .mark').getAttribute('aria-label') === 'paused'")
        .await;
    page.until("document.getElementById('notice').textContent.startsWith('Shop: paused')")
        .await;
    page.evaluate(&format!("{}.click()", button("trigger")))
        .await;
    page.until("document.getElementById('notice').textContent.startsWith('Shop: being checked')")
        .await;
    assert_eq!(page.served.monitor("shop").await["lifecycle"], "paused");
    page.evaluate(&format!("{}.click()", button("resume")))
        .await;
    page.until("document.querySelector('#m-shop .mark').getAttribute('aria-label') === 'up'")
        .await;
    assert_eq!(page.served.monitor("shop").await["lifecycle"], "active");
    page.close().await;
}

/// A keyboard is enough, and every strip of bars has its words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_and_a_screen_reader_are_enough() {
    let page = Page::open().await;
    page.driver
        .action_chain()
        .send_keys(Key::Tab)
        .perform()
        .await
        .unwrap();
    assert_eq!(
        page.evaluate("document.activeElement.id").await,
        "m-ftp.row"
    );
    page.driver
        .action_chain()
        .send_keys(Key::Enter)
        .perform()
        .await
        .unwrap();
    assert_eq!(
        page.evaluate("document.getElementById('m-ftp').open").await,
        true
    );
    page.driver
        .action_chain()
        .send_keys(Key::Tab)
        .perform()
        .await
        .unwrap();
    assert_eq!(
        page.evaluate("document.activeElement.dataset.action").await,
        "trigger"
    );
    let words = page.evaluate("document.querySelector('#m-ftp .bars').getAttribute('aria-label')");
    let words = words.await.as_str().unwrap().to_owned();
    assert!(
        words.contains(" down") && words.contains("check"),
        "{words}"
    );
    let nameless = "[...document.querySelectorAll('svg')].filter(svg =>
        !svg.hasAttribute('aria-hidden') && !svg.getAttribute('aria-label')).length";
    assert_eq!(page.evaluate(nameless).await, 0);
    page.close().await;
}

/// The least contrast of any text on the page with what is behind it, and that text.
const CONTRAST: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => {
      const [r, g, b] = rgba(colour).map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
      for (; element; element = element.parentElement) {
        const colour = getComputedStyle(element).backgroundColor;
        if (rgba(colour)[3] === 255) return colour;
      }
      return 'white';
    };
    let least = [99, ''];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      const text = texts.currentNode.data.trim();
      if (!text || !element.checkVisibility() || element.disabled || element.closest('svg')) continue;
      const pair = [light(getComputedStyle(element).color), light(behind(element))].sort();
      const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
      if (ratio < least[0]) least = [ratio, text];
    }
    return least;
  })()";

/// Legible in both schemes; nothing from elsewhere; no sideways scrolling on a phone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_legible_everywhere_and_loads_nothing_from_elsewhere() {
    let page = Page::open().await;
    page.until("document.querySelector('.incident')").await;
    page.evaluate("document.querySelectorAll('details').forEach(row => { row.open = true; })")
        .await;
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        page.scheme(scheme).await;
        page.width(1180, 1000).await;
        let least = page.evaluate(CONTRAST).await;
        assert!(least[0].as_f64().unwrap() >= 4.5, "{scheme}: {least}");
        grounds.push(
            page.evaluate("getComputedStyle(document.body).backgroundColor")
                .await,
        );
        page.picture(&format!("status-page-{scheme}.png")).await;
    }
    assert_ne!(grounds[0], grounds[1], "there is a dark scheme");
    page.scheme("light").await;
    for width in [320, 390, 760, 1024] {
        page.width(width, 1200).await;
        let scroll = page.evaluate("document.documentElement.scrollWidth").await;
        assert!(
            scroll.as_u64().unwrap() <= u64::from(width),
            "{scroll} at {width}"
        );
        if width == 390 {
            page.picture("status-page-phone.png").await;
        }
    }
    let elsewhere = "performance.getEntriesByType('resource').map(entry => entry.name)
        .filter(name => !name.startsWith(location.origin))";
    assert_eq!(page.evaluate(elsewhere).await, json!([]));
    page.close().await;
}

/// Without JavaScript everything can be read, and no button pretends to work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reads_well_without_javascript() {
    let page = Page::open().await;
    page.devtools(
        "Emulation.setScriptExecutionDisabled",
        json!({ "value": true }),
    )
    .await;
    page.visit().await;
    let text = async |selector: &str| {
        page.driver
            .find(By::Css(selector))
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    assert_eq!(text("h1").await, "1 of 2 is up");
    assert!(
        text(".headline p")
            .await
            .starts_with("Legacy FTP has been down for")
    );
    assert!(
        text(".incident")
            .await
            .contains("connection refused (connect · target)")
    );
    page.driver
        .find(By::Id("m-ftp.row"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    assert!(text("#m-ftp .why").await.contains("Next check"));
    let button = page.driver.find(By::Css("#m-ftp button")).await.unwrap();
    assert!(!button.is_displayed().await.unwrap());
    page.close().await;
}

/// A stream that breaks is said to be broken, and comes back by itself, also with another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_is_said_and_mended() {
    let page = Page::open().await;
    page.until("document.getElementById('live').classList.contains('on')")
        .await;
    page.evaluate("window.stays = true").await;
    let address = page.served.address().to_owned();
    let Page {
        driver,
        served,
        target,
        refusing,
        browser,
    } = page;
    served.process.signal(rustix::process::Signal::KILL);
    served.process.end();
    let until = async |condition: &str| until(&driver, condition).await;
    until("document.getElementById('liveness').textContent.startsWith('reconnecting')").await;
    target.set_up(false);
    let url = target.url();
    let monitor = format!("[[monitor]]\nid = \"shop\"\nname = \"Shop\"\nurl = {url:?}\n");
    let _served = Served::listening(&address, &monitor);
    until("document.getElementById('live').classList.contains('on')").await;
    until(&format!("{H1} === 'Shop is down'")).await;
    until("!document.getElementById('m-ftp')").await;
    assert_eq!(evaluate(&driver, "window.stays").await, true);
    driver.quit().await.unwrap();
    drop((browser, refusing));
}
