import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { Fault, Redaction } from "effect-recovery"
import { seedOf } from "../support/campaigns.js"
import { hostileErrors } from "../support/hostile.js"

const { mark, redactArguments, redactText, redactValue } = Redaction

/** Each text with the secret in it. */
const secrets: ReadonlyArray<readonly [text: string, secret: string]> = [
  ["connect to postgres://app:hunter2@db.internal:5432/shop failed", "hunter2"],
  ["redis://:hunter2@cache:6379/0", "hunter2"],
  ["amqp://user:p@ss!w@rd@host/", "p@ss!w@rd"],
  ["clone https://x-oauth-token-0123456789abcdef@github.com/a/b", "x-oauth-token-0123456789abcdef"],
  ["GET https://api.example/v1/x?page=2&token=abc123&sort=name 500", "abc123"],
  ["https://maps.example/api?key=AbC-1_x&q=Berlin", "AbC-1_x"],
  ["https://bucket.example/o?X-Amz-Signature=9f8e7d&X-Amz-Expires=60", "9f8e7d"],
  ["https://blob.example/c?sv=2024&sig=a%2Bb%3D", "a%2Bb%3D"],
  ["DB_PASSWORD=hunter2 npm start", "hunter2"],
  ["password: hunter2", "hunter2"],
  ["password = 'hunter 2'", "hunter 2"],
  ['{"user":"ada","apiKey":"k-91 x"}', "k-91 x"],
  ['{"password":"a\\"b\\\\c"}', 'a\\"b\\\\c'],
  ['body was "{\\"clientSecret\\":\\"s3 cr3t\\"}"', "s3 cr3t"],
  ["Authorization: Bearer abc.def-ghi", "abc.def-ghi"],
  ["authorization: Basic YWRhOmh1bnRlcjI=", "YWRhOmh1bnRlcjI="],
  ['Authorization: Digest username="ada", response="6629fae4"', "6629fae4"],
  ["Cookie: sid=31d4d96e407aad42; theme=dark", "31d4d96e407aad42"],
  ['headers {"x-api-key":"k 1"}', "k 1"],
  ["rejected bearer 8f14e45fceea167a", "8f14e45fceea167a"],
  ["the key AKIAIOSFODNN7EXAMPLE is disabled", "AKIAIOSFODNN7EXAMPLE"],
  ["ghp_16C7e42F292c6912E7710c838347Ae178B4a has no access", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"],
  ["github_pat_11ABCDEFG0123456789_abcdefghijk", "github_pat_11ABCDEFG0123456789_abcdefghijk"],
  ["xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy", "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy"],
  ["sk-proj-abcdefghij0123456789 is not valid", "sk-proj-abcdefghij0123456789"],
  ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
  [
    "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P here",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
  ],
  ["-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----", "MIIEow"],
  ["cut off: -----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow"],
  ["Command failed: mysql --password hunter2 -h db", "hunter2"],
  ["Driver={SQL};Uid=sa;Pwd=hunter2;", "hunter2"]
]

/** Texts without secrets, which stay as they are. */
const harmless: ReadonlyArray<string> = [
  "connect ECONNREFUSED 127.0.0.1:5432",
  "https://example.org:8443/a/b?page=2&sort=key#top",
  "ssh://git@github.com/a/b",
  "Unexpected token '<', \"<html>\" is not valid JSON",
  "fencing token: 17 is stale",
  "Bearer authentication is required",
  "The password must have 12 characters",
  "max_tokens=100, completion tokens: 12",
  "keyboard: qwerty, monkey=1, PWD=/home/ada",
  "a task-list of sk-ies"
]

describe("Redaction.redactText", () => {
  it.each(secrets)("hides the secret of %s", (text, secret) => {
    const redacted = redactText(text)
    assert.notInclude(redacted, secret)
    assert.include(redacted, mark)
    assert.strictEqual(redactText(redacted), redacted)
  })

  it.each(harmless)("keeps %s", (text) => {
    assert.strictEqual(redactText(text), text)
  })

  it("keeps what stands around a secret", () => {
    assert.strictEqual(
      redactText("GET https://ada:pw@api.example/v1?a=1&token=x9&b=2 (apiKey=k1). Gone"),
      `GET https://ada:${mark}@api.example/v1?a=1&token=${mark}&b=2 (apiKey=${mark}). Gone`
    )
  })

  const noise = FastCheck.constantFrom(
    "a",
    "Z",
    "9",
    " ",
    "=",
    ":",
    "/",
    "@",
    "&",
    "?",
    "-",
    "_",
    ".",
    '"',
    "\\",
    "'",
    "<",
    ">",
    "\n",
    ";",
    "{",
    "}",
    ","
  )
  const piece = FastCheck.oneof(
    { weight: 3, arbitrary: noise },
    {
      weight: 2,
      arbitrary: FastCheck.constantFrom(
        "password",
        "token",
        "secret=",
        "api_key: ",
        "Authorization: ",
        "Bearer ",
        "://",
        mark,
        "Cookie:",
        "?key=",
        "eyJ",
        "--password ",
        "-----BEGIN PRIVATE KEY-----",
        ";pwd=",
        "sk-",
        "whsec_"
      )
    },
    { weight: 1, arbitrary: FastCheck.constantFrom(...secrets.map(([text]) => text)) }
  )

  it("redacting twice gives the same as redacting once", () => {
    const text = FastCheck.array(piece, { maxLength: 40 }).map((parts) => parts.join(""))
    FastCheck.assert(
      FastCheck.property(text, (text) => {
        const redacted = redactText(text)
        assert.strictEqual(redactText(redacted), redacted)
      }),
      { numRuns: 3_000, seed: seedOf(1) }
    )
  })

  it("takes linear time", () => {
    const parts = [
      "://",
      "a:",
      "password",
      "token=",
      "eyJ",
      "eyJ-",
      "-----BEGIN PRIVATE KEY-----",
      "--",
      "a-",
      "Bearer ",
      '"',
      '\\"',
      "Cookie:",
      "?key=",
      "sk-",
      ";pwd"
    ]
    for (const part of parts) {
      const text = (length: number) => part.repeat(Math.ceil(length / part.length))
      const steps = (length: number) => {
        const given = text(length)
        const start = process.cpuUsage()
        redactText(given)
        return process.cpuUsage(start).user
      }
      steps(10_000)
      // Quadratic time would take minutes; the bound is for a busy machine.
      assert.isBelow(steps(400_000), 10_000_000, part)
    }
  })
})

describe("Redaction.redactValue", () => {
  it("hides what stands below the name of a secret, and secrets within texts", () => {
    const value = {
      user: "ada",
      db: { passwords: ["a", "b"], url: "mysql://root:pw@db/x" },
      headers: [
        ["Authorization", "Basic eDp5"],
        ["accept", "*/*"]
      ],
      env: [
        { name: "API_TOKEN", value: "t" },
        { name: "HOME", value: "/root" }
      ],
      key: Redacted.make("inside"),
      text: '{"secret":"in text","n":1}',
      token: 7,
      nothing: { password: "" }
    }
    assert.deepStrictEqual(redactValue(value), {
      user: "ada",
      db: { passwords: [mark, mark], url: `mysql://root:${mark}@db/x` },
      headers: [
        ["Authorization", mark],
        ["accept", "*/*"]
      ],
      env: [
        { name: "API_TOKEN", value: mark },
        { name: "HOME", value: "/root" }
      ],
      key: mark,
      text: `{"secret":"${mark}","n":1}`,
      token: 7,
      nothing: { password: "" }
    })
  })

  it.each(hostileErrors)("never throws: %s", (_, make) => {
    assert.isString(JSON.stringify(redactValue(make())))
    assert.isString(JSON.stringify(redactValue({ password: make() })))
  })

  it("returns JSON without secrets as it is", () => {
    const json = { a: [1, { b: "text" }], c: null }
    assert.strictEqual(Redaction.make().json(json), json)
  })

  it("redacting JSON twice gives the same as redacting it once", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.jsonValue(), FastCheck.constantFrom("password", "a", "Cookie"), (value, key) => {
        const { json } = Redaction.make({ keys: ["a"] })
        const once = json({ [key]: value as never })
        assert.deepStrictEqual(json(once), once)
      }),
      { numRuns: 500, seed: seedOf(2) }
    )
  })
})

describe("Redaction.redactArguments", () => {
  const hidden = (command: string) => redactArguments(command.split(" ")).join(" ")

  it.each([
    ["deploy --password hunter2 --verbose", `deploy --password ${mark} --verbose`],
    ["deploy --api-key=k1 --region=eu", `deploy --api-key=${mark} --region=eu`],
    ["deploy --token --verbose", "deploy --token --verbose"],
    ["env API_TOKEN=t HOME=/root node x.js", `env API_TOKEN=${mark} HOME=/root node x.js`],
    ["curl -u ada:pw https://a:b@c.example/", `curl -u ada:${mark} https://a:${mark}@c.example/`],
    ["curl -uada:pw --cookie sid=1", `curl -uada:${mark} --cookie ${mark}`],
    ["mysqldump -phunter2 -u root shop", `mysqldump -p${mark} -u root shop`],
    ["/usr/bin/redis-cli -a hunter2 ping", `/usr/bin/redis-cli -a ${mark} ping`],
    ["ssh -p 22 host", "ssh -p 22 host"],
    ["java -Ddb.password=x -jar a.jar", `java -Ddb.password=${mark} -jar a.jar`],
    ["vault --password-file /run/pw", "vault --password-file /run/pw"],
    ["tool --secret -x9", `tool --secret ${mark}`]
  ])("of %s", (command, expected) => {
    assert.strictEqual(hidden(command), expected)
    assert.strictEqual(hidden(expected), expected)
  })

  it("hides headers by their names", () => {
    const command = [
      "curl",
      "-H",
      "Authorization: Bearer x1",
      "--header=X-Api-Key: k",
      "-HCookie: a=b",
      "-H",
      "Accept: */*"
    ]
    const expected = [
      "curl",
      "-H",
      `Authorization: ${mark}`,
      `--header=X-Api-Key: ${mark}`,
      `-HCookie: ${mark}`,
      "-H",
      "Accept: */*"
    ]
    assert.deepStrictEqual(redactArguments(command), expected)
    assert.deepStrictEqual(redactArguments(expected), expected)
  })

  it("redacting a command twice gives the same as redacting it once", () => {
    const part = FastCheck.constantFrom(
      "mysql",
      "curl",
      "-p",
      "-phunter2",
      "-H",
      "-HCookie: a=b",
      "-u",
      "a:b",
      "--",
      "-",
      "",
      "=",
      "--token",
      "--token=",
      "--token=x",
      "--header=Cookie: a",
      "Authorization: Basic eDp5",
      "TOKEN=--x",
      "--a=b",
      "-b",
      "-bsid=1",
      "https://a:b@c",
      mark,
      `-u${mark}`,
      "x"
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.array(FastCheck.oneof(part, FastCheck.string()), { maxLength: 8 }), (command) => {
        const once = redactArguments(command)
        assert.strictEqual(once.length, command.length)
        assert.deepStrictEqual(redactArguments(once), once)
      }),
      { numRuns: 5_000, seed: seedOf(4) }
    )
  })

  it("hides secrets within a script", () => {
    assert.deepStrictEqual(redactArguments(["sh", "-c", "export TOKEN=abc; curl https://x?sig=9"]), [
      "sh",
      "-c",
      `export TOKEN=${mark}; curl https://x?sig=${mark}`
    ])
    assert.deepStrictEqual(redactArguments([]), [])
  })
})

describe("Redaction.layer", () => {
  const layer = Redaction.layer({ patterns: [/cus_\w+/], headers: ["X-Tenant"], keys: ["pin code"] })

  it.effect("adds patterns, headers and keys to those in force", () =>
    Effect.gen(function* () {
      const { arguments: ofCommand, json, text } = yield* Redaction.Redaction
      assert.strictEqual(
        text("cus_81 has pin-code=4711, x-tenant: a b, token=t"),
        `${mark} has pin-code=${mark}, x-tenant: ${mark}`
      )
      assert.deepStrictEqual(json({ pinCode: "1", "x-tenant": "a", id: "cus_9" }), {
        pinCode: mark,
        "x-tenant": mark,
        id: mark
      })
      assert.deepStrictEqual(ofCommand(["x", "--pin-code", "4711"]), ["x", "--pin-code", mark])
      const inner = yield* Effect.provide(Redaction.Redaction, Redaction.layer({ patterns: [/inner/g] }))
      assert.strictEqual(inner.text("cus_1 inner inner"), `${mark} ${mark} ${mark}`)
    }).pipe(Effect.provide(layer))
  )

  it.effect("hides the secrets in messages of faults, and failures that differ in them have one fingerprint", () =>
    Effect.gen(function* () {
      const one = yield* Fault.classify(new Error("no access for cus_alpha at https://a:b@c.example"))
      const other = yield* Fault.classify(new Error("no access for cus_beta at https://a:d@c.example"))
      assert.strictEqual(one.message, `no access for ${mark} at https://a:${mark}@c.example`)
      assert.strictEqual(one.fingerprint, other.fingerprint)
    }).pipe(Effect.provide(layer))
  )

  it("refuses names and patterns that hide everything or nothing", () => {
    assert.throws(() => Redaction.layer({ keys: [""] }), /"keys".*at least one letter or digit/)
    assert.throws(() => Redaction.layer({ headers: ["--"] }), /"headers"/)
    assert.throws(() => Redaction.make({ patterns: ["text" as never] }), /"patterns".*regular expressions/)
    assert.strictEqual(Redaction.make({ patterns: [/x*/] }).text("abc"), "abc")
    assert.strictEqual(Redaction.make({ patterns: [/red/] }).text("red token=1"), `${mark} token=${mark}`)
  })
})

describe("Redaction.logger", () => {
  it.effect("hides secrets in messages, annotations, spans and causes", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.map(Redaction.logger(Logger.jsonLogger), (line) => void lines.push(line))
      const error = new Error("no access with token=t1", { cause: new Error("https://a:pw1@b.example refused") })
      const log = Effect.log("password=p1", { apiKey: "k1", a: 1 }, Cause.fail(error)).pipe(
        Effect.annotateLogs({ authorization: "Basic eDp5", url: "https://a:pw2@b.example", run: "1" }),
        Effect.withLogSpan("secret=s1"),
        Effect.zipRight(Effect.log("cus_1 plain")),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.provide(Redaction.layer({ patterns: [/cus_\w+/] }))
      )
      yield* log
      const text = lines.join("\n")
      for (const secret of ["t1", "pw1", "p1", "k1", "eDp5", "pw2", "s1", "cus_1"]) assert.notInclude(text, secret)
      assert.include(text, `"run":"1"`)
      assert.include(text, `${mark} plain`)
      assert.include(text, `no access with token=${mark}`)
    })
  )
})
