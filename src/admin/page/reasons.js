// Reason codes in words. The codes are those of docs/reasons.md; one that is not here is shown alone.

import { language } from "/i18n.js";

/** code: [English, Chinese]. */
const MEANING = {
  // Malformed: HTTP that could be read in two ways.
  both_lengths: ["Transfer-Encoding beside Content-Length", "同时带有 Transfer-Encoding 与 Content-Length"],
  content_length_repeated: ["more than one Content-Length", "Content-Length 重复"],
  content_length_malformed: ["the Content-Length is not a number", "Content-Length 不是数字"],
  transfer_encoding: ["a Transfer-Encoding other than chunked", "Transfer-Encoding 不是 chunked"],
  bare_line_feed: ["a header line without CR", "请求头行缺少 CR"],
  folded_line: ["a folded header line", "请求头折行"],
  after_chunked: ["a request behind a chunked one", "分块请求之后又有请求"],
  host_missing: ["no Host", "缺少 Host"],
  host_repeated: ["more than one Host", "Host 重复"],
  host_differs: [":authority and Host differ", ":authority 与 Host 不一致"],
  target_form: ["the target is not a path", "请求目标不是路径"],
  target_characters: ["characters that proxies treat differently", "含有各代理处理不一的字符"],
  target_too_long: ["path and query are too long", "路径与查询过长"],
  underscore_twin: ["a header name that some servers read as one of ours", "带下划线的请求头可能被误认"],
  too_many_headers: ["too many header fields", "请求头过多"],
  headers_too_large: ["the header fields are too large", "请求头过大"],
  content_encoding: ["a compressed body", "正文经过压缩"],
  upgrade: ["asks for another protocol", "请求升级协议"],
  fragment: ["a # in the target", "请求目标含有 #"],
  unreadable: ["not HTTP", "不是 HTTP"],
  // Refused by a guard.
  not_found: ["no source has this path", "没有来源使用此路径"],
  method_not_allowed: ["the provider does not use this method", "服务商不使用此方法"],
  address_not_allowed: ["the sender’s address is not allowed", "发送方地址不在允许之列"],
  forwarded_for_malformed: ["X-Forwarded-For names no address", "X-Forwarded-For 不含有效地址"],
  rate_per_address: ["too many from one address", "单个地址请求过多"],
  rate_total: ["too many in all", "总请求过多"],
  body_too_large: ["the body is too large", "正文过大"],
  body_too_slow: ["the body came too slowly", "正文到达过慢"],
  body_broken: ["the connection ended inside the body", "连接在正文中途断开"],
  no_room: ["memory for bodies is used up", "正文内存已用尽"],
  // Rejected by the verifier.
  signature_missing: ["no signature where it should be", "应有的签名缺失"],
  signature_malformed: ["the signature is not written as it should be", "签名格式不正确"],
  signature_mismatch: ["no key makes this signature", "没有密钥能得出此签名"],
  too_many_candidates: ["too many signatures to try", "待验签名过多"],
  scheme_unknown: ["another scheme than the source uses", "方案与来源配置不符"],
  method_unexpected: ["an unexpected method", "意外的方法"],
  key_unknown: ["names a key that is not known", "使用了未知的密钥"],
  key_expired: ["only expired keys fit", "只有过期密钥可用"],
  key_untrusted: ["the certificate or key is not trusted", "证书或密钥不受信任"],
  timestamp_missing: ["no timestamp", "缺少时间戳"],
  timestamp_malformed: ["the timestamp cannot be read", "时间戳无法识别"],
  stale: ["too old", "已过时"],
  from_the_future: ["from the future", "时间在未来"],
  second_check_failed: ["the password or token beside the signature is wrong", "签名之外的口令或令牌不对"],
  wrong_addressee: ["meant for somebody else", "不是发给您的"],
  assertion_failed: ["something that must hold does not", "必须成立的条件不成立"],
  undecipherable: ["cannot be decrypted", "无法解密"],
  not_confirmed: ["the provider does not confirm it", "服务商未予确认"],
  unready: ["the provider could not be asked", "无法向服务商查询"],
  header_repeated: ["a header field stands twice", "请求头重复"],
  field_repeated: ["a field stands twice", "字段重复"],
  field_missing: ["a signed field is missing", "缺少签名字段"],
  field_malformed: ["a field is not as it should be", "字段格式不正确"],
  body_malformed: ["the body cannot be read", "正文无法解析"],
  conflict_rejected: ["another event has its key", "键已被另一事件占用，已拒绝"],
  conflict_dropped: ["another event has its key; not stored", "键已被另一事件占用，未存储"],
  // Unheard and overloaded.
  connection_ended: ["the sender had gone before the answer", "应答前发送方已断开"],
  disk_low: ["too little disk space", "磁盘空间不足"],
  write_failed: ["the journal could not be written", "日志无法写入"],
  queue_full: ["too many wait for the disk", "等待落盘的事件过多"],
  sync_failed: ["a sync to disk failed", "落盘同步失败"],
  // Attempts.
  dns: ["the destination’s name has no address", "目标域名无法解析"],
  address_refused: ["the destination’s address is not allowed", "目标地址不被允许"],
  connect_refused: ["nobody listens there", "目标端口无人监听"],
  connect_failed: ["no connection", "无法连接"],
  connect_timeout: ["no connection in time", "连接超时"],
  tls: ["no trusted TLS with the destination", "与目标的 TLS 不可信"],
  timeout: ["no answer in time", "应答超时"],
  closed_early: ["the connection ended before the answer", "应答前连接断开"],
  bad_answer: ["the answer is not HTTP", "应答不是 HTTP"],
  redirect: ["a redirect; never followed", "重定向；不予跟随"],
  gone: ["410: not wanted any more", "410：不再需要"],
  status_4xx: ["the application refused (4xx)", "应用拒绝（4xx）"],
  status_5xx: ["the application failed (5xx)", "应用出错（5xx）"],
  status_other: ["another status than 2xx", "非 2xx 状态"],
  gave_up: ["tried for as long as the rule says, in vain", "按规则重试到期，均未成功"],
  missing: ["no longer in the store", "存储中已不存在"],
  unsendable: ["cannot be put into a request", "无法组成请求"],
};

const STRANGER = "陌生人的请求无需处理；若服务商前有改写请求的代理，请让其原样转发。";

/** In Chinese only: the gateway itself says it in English. code: [likely cause, what to do]. */
const CHINESE = {
  target_characters: ["路径或查询含有各代理处理不一的字符。", STRANGER],
  unreadable: ["扫描，或在 TLS 端口上发送了明文。", "无需处理；若是负载均衡的探测，请改为 TLS 探测。"],
  host_missing: ["扫描，或手工的健康检查。", STRANGER],
  target_form: ["有人在寻找开放代理。", "无需处理。"],
  content_encoding: ["正文经过压缩，无法得知签名时的字节。", "在发送方或网关前的代理处关闭请求压缩。"],
  method_not_allowed: ["浏览器或扫描器；服务商不使用此方法。", "一般无需处理。"],
  rate_total: ["服务商突发，或洪水攻击。", "确属服务商时，提高 guard.rate.total；被拒的会重发。"],
  no_room: ["在途正文合计超过 limits.bytes_in_flight。", "提高 limits.bytes_in_flight；被拒的会重发。"],
  not_found: ["有人在扫描，或服务商处登记的地址不对。", "核对服务商后台登记的回调地址与规则文件中的 path。"],
  address_not_allowed: ["服务商更换了地址，或前面的代理没有列为可信。", "核对 guard.allow 与 trusted_proxies；先用 mode = \"log\" 观察。"],
  rate_per_address: ["单个地址发送过快，可能是攻击或压力测试。", "确属服务商时，提高 guard.rate.per_ip。"],
  body_too_large: ["正文超过 guard.body_max。", "确属服务商时，提高 guard.body_max。"],
  signature_missing: ["陌生人的请求，或选错了服务商文件。", "核对来源的 provider。"],
  signature_malformed: ["中间的代理改写了请求头。", "检查网关前的代理，保留签名请求头原样。"],
  signature_mismatch: ["伪造；密钥不同；正文被代理改动；或签名所含的地址有出入。", "用下面的命令逐步检查抓取的请求，并与服务商后台核对密钥。"],
  key_unknown: ["服务商更换了密钥。", "把新密钥加入 keys，或补全获取密钥所需的设置。"],
  key_expired: ["旧密钥在此处已停用，而服务商仍在使用。", "在服务商处切换到新密钥，或延长 not_after。"],
  stale: ["重放，或时钟有偏差。", "检查本机时钟；服务商延迟较大时放宽 freshness.tolerance。"],
  from_the_future: ["时钟有偏差。", "检查本机时钟同步。"],
  second_check_failed: ["[secrets] 下的口令与服务商处设置的不同。", "核对后更新密钥文件或环境变量。"],
  wrong_addressee: ["重放了其他商户的事件；或 [config] 下的商户号、应用号不是您的；或混用了沙箱与生产环境。", "核对 [config] 中的编号与环境。"],
  undecipherable: ["解密密钥与服务商处设置的不同。", "核对 [secrets] 中的解密密钥。"],
  unready: ["必须询问的服务商主机不可达。", "服务商会重试；运行 callseal check 查看原因。"],
  body_malformed: ["选错了服务商文件。", "核对来源的 provider。"],
};

const own = (table, code) => (Object.hasOwn(table, code ?? "") ? table[code] : null);

export function meaning(code) {
  return own(MEANING, code)?.[language() === "en" ? 0 : 1] ?? "";
}

export function cause(code) {
  return language() === "en" ? "" : (own(CHINESE, code)?.[0] ?? "");
}

export function mend(code) {
  return language() === "en" ? "" : (own(CHINESE, code)?.[1] ?? "");
}
