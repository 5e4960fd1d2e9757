// In Chinese nothing is left in English, but for names, codes and quotations.

import { open, settled, signIn } from "../browser.mjs";

/** Texts of two English words or more, outside of what is quoted. */
function english() {
  const quoted = "[lang=en], .mono, code, pre, .block, .tongue, bdi.value, .legend, kbd, option, .offscreen";
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const said = node.data.replace(/p50|p99|Callseal|callseal\.toml|\[admin\]|UTC|KiB|MiB|GiB/g, "");
    if (/[a-z]{2,}[ ,]+[a-z]{2,}/.test(said) && !node.parentElement.closest(quoted)) found.push(node.data);
  }
  return found;
}

export default ({ base, gateway, attach, token }) => ({
  "in Chinese: every view, and every word of a verification": async (browser) => {
    const { page, context, wrongs } = await open(browser, base, { locale: "zh-CN" });
    await attach(page);
    await signIn(page, base, token);
    const one = gateway.world.events.find((e) => e.state === "dead");
    for (const hash of ["overview", "events", `events/${one.id}`, "dead", "refusals", "sources", "sources/shop", "audit", "rules"]) {
      await page.goto(`${base}/#/${hash}`);
      await settled(page);
      const found = await page.evaluate(english);
      if (found.length > 0) throw new Error(`${hash}: ${found.slice(0, 5).map((text) => JSON.stringify(text)).join(", ")}`);
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
    await holds("rules", ["证书有效期至", "6 个来源", "1 条待投递", "wechat 的 keys[1] 启动以来未被使用。", "为磁盘腾出空间"]);
    await holds("refusals", ["1 个签名与 2 个密钥均不相符", "没有密钥能得出此签名："]);
    await context.close();
    if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
  },

  "in Chinese: quotations of the request stay as they came": async (browser) => {
    const { page, context } = await open(browser, base, { locale: "zh-CN" });
    await attach(page);
    await signIn(page, base, token);
    const told = await page.evaluate(async () => {
      const { factName, factValue, stepName } = await import("/trace.js");
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
      ];
    });
    const wanted = ["not there", "good", "none", "fits", "•••（32 字节）", "none", "/x（来源：/shop）  ✗", "签名于 400 秒之前", "no such words", "签名“v2”", "a new step", "支付：金额"];
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
