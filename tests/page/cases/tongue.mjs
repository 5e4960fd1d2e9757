// In Chinese nothing is left in English, but for names, codes and quotations.

import { open, settled, signIn } from "../browser.mjs";
import { problem } from "../mock/handler.mjs";

/**
 * Texts of two English words or more: also those of titles, labels and hints. Not what is quoted: names
 * and ids, codes, what came with a request, commands, diagnostics of the compiler, and what somebody
 * wrote as a reason.
 */
function english() {
  const quoted = ".mono, code, pre, .block, .tongue, bdi.value, .legend, kbd, .offscreen code";
  const words = (said) => /[a-z]{2,}[ ,]+[a-z]{2,}/i.test(said.replace(/p50|p99|Callseal|callseal\.toml|callseal store verify|\[admin\]|UTC|[KMG]iB|JSON Web Key|Asia\/Shanghai/g, ""));
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (words(node.data) && !node.parentElement.closest(quoted)) found.push(node.data);
  }
  for (const element of document.querySelectorAll("[title], [aria-label], [placeholder], [data-label]")) {
    for (const name of ["title", "aria-label", "placeholder", "data-label"]) {
      const said = element.getAttribute(name) ?? "";
      if (words(said) && !element.closest("time, bdi.value")) found.push(`${name}: ${said}`);
    }
  }
  return found;
}

export async function nothingInEnglish(page, where) {
  const found = await page.evaluate(english);
  if (found.length > 0) throw new Error(`${where}: ${found.slice(0, 5).map((text) => JSON.stringify(text)).join(", ")}`);
}

// As the gateway answers, with its English and its facts.
const WRONG = {
  moment: [problem("bad_parameter", "from: input should be formatted like…", { text: "moment", facts: { name: "from", why: "timestamp format is invalid" } }), "从：时间无法识别"],
  one_of: [problem("bad_parameter", "state: one of owed, delivered", { text: "one_of", facts: { name: "state", values: "owed, delivered, dead" } }), "状态：应为 owed, delivered, dead 之一"],
  number: [problem("bad_parameter", "limit: 0 is not from 1 to 500", { text: "number", facts: { name: "limit", from: "1", to: "500" } }), "limit：应为 1 至 500"],
  event_id: [problem("bad_parameter", "id: not an event id", { text: "event_id", facts: { name: "id" } }), "事件编号为 evt_ 加 26 个字符"],
  unreadable: [problem("bad_parameter", "query: Failed to deserialize query string", { text: "unreadable", facts: { name: "query", why: "Failed to deserialize query string: unknown field `colour`" } }), "unknown field `colour`"],
  io: [{ status: 503, type: "application/problem+json", json: { status: 503, code: "io", detail: "reading a segment: timed out", text: "io", facts: { what: "reading a segment: timed out" } } }, "磁盘未应答：reading a segment"],
  queue_full: [{ status: 503, type: "application/problem+json", json: { status: 503, code: "queue_full", detail: "too many events wait for the disk" } }, "等待落盘的事件过多"],
  host: [{ status: 421, type: "application/problem+json", json: { status: 421, code: "host", detail: "this Host header is not one of ours" } }, "网关不认识此主机名"],
  unknown: [{ status: 502, type: "text/html" }, "502 unknown"],
};

export default ({ base, gateway, attach, token, viewer }) => ({
  "in Chinese: every view, and every word of a verification": async (browser) => {
    const { page, context, wrongs } = await open(browser, base, { locale: "zh-CN" });
    await attach(page);
    await signIn(page, base, token);
    const one = gateway.world.events.find((e) => e.state === "dead");
    await nothingInEnglish(page, "the frame");
    for (const hash of ["overview", "events", `events/${one.id}`, "dead", "refusals", "sources", "sources/shop", "audit", "rules"]) {
      await page.goto(`${base}/#/${hash}`);
      await settled(page);
      await nothingInEnglish(page, hash);
    }
    const holds = async (hash, texts) => {
      await page.goto(`${base}/#/${hash}`);
      await settled(page);
      const text = await page.locator("main").innerText();
      const missing = texts.filter((wanted) => !text.includes(wanted));
      if (missing.length > 0) throw new Error(`${hash} does not show ${missing}`);
    };
    await holds("overview", ["磁盘剩余空间低于 inbox.low_water", "最近一小时发往 shop 的请求有 8.2% 被拒绝。", "最早的投递已等待 2 小时 3 分。", "shop 的 keys[1] 即将到期。", "在服务商处完成轮换"]);
    await holds(`events/${one.id}`, ["入口检查", "203.0.113.14（强制）", "622 字节，上限 262144", "此服务商没有询问", "候选签名，取自 {sig:v1}", "相符（keys[0]）", "不符（keys[1]）", "慢于时钟 2 秒", "成立：true against true", "取自已签名的编号 {json:/id}", "服务商收到", "支付：金额"]);
    await holds("rules", ["证书有效期至", "6 个来源", "1 条待投递", "wechat 的 keys[1] 启动以来未被使用。", "为磁盘腾出空间", "rules/wechat.toml:3:13：被截获的请求在一小时后仍然有效（服务商每次重试都会重新签名；通常为五分钟）", "{json:/id} 与 {json:/amount} 之间没有任何分隔"]);
    await holds("refusals", ["1 个签名与 2 个密钥均不相符", "没有密钥能得出此签名：", "目前无法验证：无法连接主机"]);
    await holds("sources/alipay", ["alice 暂停了 main", "the ERP is down"]);
    await context.close();
    if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
  },

  "in Chinese: dialogs, what is wrong with a request, and a viewer's page": async (browser) => {
    const { page, context, wrongs } = await open(browser, base, { locale: "zh-CN" });
    await attach(page);
    await page.goto(base);
    await page.locator("input[name=token]").waitFor();
    await nothingInEnglish(page, "signing in");
    await page.locator("input[name=token]").fill("a wrong one");
    await page.keyboard.press("Enter");
    await page.locator(".wrong").waitFor();
    await nothingInEnglish(page, "a wrong token");
    await signIn(page, base, token);
    const one = gateway.world.events.find((e) => e.state === "dead");
    const dialogs = { dead: ["重投…", "丢弃…"], [`events/${one.id}`]: ["重投", "丢弃", "取消遮蔽"], "sources/wechat": ["暂停…", "全部暂停…"] };
    for (const [hash, names] of Object.entries(dialogs)) {
      await page.goto(`${base}/#/${hash}`);
      await settled(page);
      for (const name of names) {
        await page.locator("main").getByRole("button", { name, exact: true }).first().click();
        await page.locator("dialog[open]").waitFor();
        if (hash === "dead") await page.locator("dialog[open] .plan-count").waitFor();
        await nothingInEnglish(page, `${hash}: ${name}`);
        await page.keyboard.press("Escape");
        await page.locator("dialog").waitFor({ state: "detached" });
      }
    }
    await page.keyboard.press("?");
    await page.locator("dialog[open] kbd").first().waitFor();
    await nothingInEnglish(page, "keys");
    await page.keyboard.press("Escape");
    for (const [name, [answer, wanted]] of Object.entries(WRONG)) {
      gateway.instead = (method, path) => (path === "/v1/events" ? answer : null);
      await page.goto(`${base}/#/audit`);
      await settled(page);
      await page.goto(`${base}/#/events?from=${name}`);
      const trouble = page.locator("main .trouble");
      await trouble.waitFor();
      const said = await trouble.innerText();
      if (!said.includes(wanted)) throw new Error(`${name}: ${said}`);
      await nothingInEnglish(page, name);
    }
    gateway.instead = () => null;
    await context.close();
    const other = await open(browser, base, { locale: "zh-CN" });
    await attach(other.page);
    await signIn(other.page, base, viewer);
    for (const hash of ["overview", `events/${one.id}`, "dead", "sources/alipay", "rules"]) {
      await other.page.goto(`${base}/#/${hash}`);
      await settled(other.page);
      await nothingInEnglish(other.page, `a viewer at ${hash}`);
    }
    await other.context.close();
    const all = [...wrongs, ...other.wrongs];
    if (all.length > 0) throw new Error(all.join("\n"));
  },

  "in Chinese: quotations of the request stay as they came": async (browser) => {
    const { page, context } = await open(browser, base, { locale: "zh-CN" });
    await attach(page);
    await signIn(page, base, token);
    const told = await page.evaluate(async () => {
      const { factName, factValue, fault, stepName } = await import("/trace.js");
      return [
        factValue("signed", "not there"),
        factValue("item v1", "good"),
        factValue("content-type", "none"),
        factValue("type", "fits"),
        factValue("candidate from {sig:v1}", "••• (32 bytes)"),
        factValue("stamp from {sig:t}", "none"),
        factValue("path", "/x (source: /shop)  ✗"),
        factValue("broke", "signed 400 s ago"),
        factValue("something new", "no such words"),
        stepName("signature `v2`"),
        stepName("a new step"),
        factName("payment amount"),
        fault("the key is not trusted: certificate 1 has expired"),
        fault("not readable as json: a comma or a brace is missing at byte 12"),
        fault("cannot be verified now: the answer cannot be used: no JSON: a value is missing"),
        fault("the provider does not confirm it: {answer:/state}"),
        factValue("confirmed", "no: status 404"),
        fault("the key is not trusted: this is not an RSA key"),
      ];
    });
    const wanted = ["not there", "good", "none", "fits", "•••（32 字节）", "none", "/x（来源：/shop）  ✗", "签名于 400 秒之前", "no such words", "签名“v2”", "a new step", "支付：金额", "密钥不受信任：第 1 张证书已过期", "无法按 json 读取：第 12 字节处：缺少逗号或花括号", "目前无法验证：应答无法使用：不是 JSON：缺少值", "服务商未予确认：{answer:/state}", "否：状态码 404", "密钥不受信任：密钥类型不符（应为：RSA）"];
    if (JSON.stringify(told) !== JSON.stringify(wanted)) throw new Error(JSON.stringify(told));
    await context.close();
  },

  "a sentence that the page does not know, or whose facts are missing, stays the gateway's": async (browser) => {
    const { page, context, wrongs } = await open(browser, base, { locale: "zh-CN" });
    await attach(page);
    await signIn(page, base, token);
    const told = await page.evaluate(async () => {
      const { sentence, cure } = await import("/findings.js");
      const { h } = await import("/dom.js");
      const text = (nodes) => h("p", {}, nodes).textContent;
      return [
        text(sentence({ code: "new", text: "new", detail: "Something `new`.", facts: {} })),
        text(sentence({ code: "rejections", text: "rejections", detail: "8 % of it.", source: "shop", facts: {} })),
        text(sentence({ code: "dead_letters", detail: "Of an older gateway." })),
        text(cure({ code: "new", mend: "Do it." })),
        cure({ code: "new", mend: null }),
      ];
    });
    const wanted = ["Something new.", "8 % of it.", "Of an older gateway.", "Do it.", null];
    if (JSON.stringify(told) !== JSON.stringify(wanted)) throw new Error(JSON.stringify(told));
    await context.close();
    if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
  },
});
