import * as AiError from "@effect/ai/AiError"
import * as PlatformError from "@effect/platform/Error"
import * as Headers from "@effect/platform/Headers"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as FiberId from "effect/FiberId"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Fault, Recovery, RetryPolicy } from "effect-recovery"
import { DetailedRules } from "effect-recovery/rules"
import { assertBetween } from "../support/assertions.js"
import { alwaysFailing, toTheEnd } from "../support/resilience.js"
import { processorMillis } from "../support/time.js"

const classify = (failure: unknown) => Effect.runSync(Fault.classify(failure))

const coded = (code: string, message = "") => Object.assign(new Error(message), { code })

const request = HttpClientRequest.get("http://localhost/a")
const response = (status: number, headers: Record<string, string> = {}) =>
  new HttpClientError.ResponseError({
    request,
    response: HttpClientResponse.fromWeb(request, new Response(null, { status, headers })),
    reason: "StatusCode"
  })

const model = { module: "model", method: "generateText" }
const modelRequest = {
  method: "POST",
  url: "http://localhost/a",
  urlParams: [],
  hash: Option.none(),
  headers: {}
} as const
const modelResponse = (status: number, reason: "StatusCode" | "EmptyBody" = "StatusCode") =>
  new AiError.HttpResponseError({ ...model, request: modelRequest, response: { status, headers: {} }, reason })

const parseError = Either.getOrThrow(Either.flip(Schema.decodeUnknownEither(Schema.Number)("x")))

const exhausted = (error: unknown) =>
  new Recovery.RecoveryExhausted({ error, attempts: 1, decisions: [], fault: Effect.runSync(Fault.classify(error)) })

const named = (name: string) => Object.assign(new Error("hm"), { name })

describe("the defaults of a category", () => {
  const meanings: Readonly<Record<string, readonly [Fault.Severity, boolean]>> = {
    network: ["medium", true],
    timeout: ["medium", true],
    "rate-limit": ["low", true],
    unavailable: ["medium", true],
    resource: ["high", true],
    permission: ["high", false],
    validation: ["medium", false],
    "not-found": ["medium", false],
    conflict: ["low", true],
    corruption: ["critical", false],
    dependency: ["high", false],
    logic: ["high", false],
    cancelled: ["low", false],
    unknown: ["medium", false],
    "one of your own": ["medium", false]
  }

  it.each(Object.entries(meanings))("%s", (category, [severity, transient]) => {
    const error = Object.assign(new Error("x"), { [Fault.declared]: Fault.declare({ category }) })
    assert.deepInclude(classify(error), { category, severity, transient })
  })

  it("more evidence never lowers the confidence", () => {
    const plain = classify(new Error("connect: connection refused"))
    const context = { attempt: 3, disk_usage: 0.97, host: "a", code: undefined, status: undefined }
    const more = classify(Object.assign(new Error("connect: connection refused"), context))
    assert.strictEqual(more.category, plain.category)
    assert.isAtLeast(more.confidence, plain.confidence)
  })
})

describe("Fault.classify", () => {
  const rows: ReadonlyArray<readonly [string, unknown, Fault.Category]> = [
    ["a refused connection", coded("ECONNREFUSED"), "network"],
    ["what lies behind fetch failed", new TypeError("fetch failed", { cause: coded("ECONNREFUSED") }), "network"],
    ["fetch failed without a cause", new TypeError("fetch failed"), "network"],
    ["a name that does not resolve", coded("ENOTFOUND"), "network"],
    [
      "a timeout deep in the chain",
      new Error("a", { cause: new Error("b", { cause: coded("ETIMEDOUT") }) }),
      "timeout"
    ],
    ["an undici timeout", coded("UND_ERR_HEADERS_TIMEOUT"), "timeout"],
    ["Effect's timeout", new Cause.TimeoutException(), "timeout"],
    ["our own timeout", new Recovery.AttemptTimeout({ timeout: Duration.seconds(1) }), "timeout"],
    ["a missing file", coded("ENOENT"), "not-found"],
    ["a full disk", coded("ENOSPC"), "resource"],
    ["a forbidden file", coded("EACCES"), "permission"],
    ["status 429", { status: 429 }, "rate-limit"],
    ["status 503", { statusCode: 503 }, "unavailable"],
    ["status 500", { response: { status: 500 } }, "unavailable"],
    ["status 504", { status: 504 }, "timeout"],
    ["status 401", { status: 401 }, "permission"],
    ["status 404", { status: 404 }, "not-found"],
    ["status 409", { status: 409 }, "conflict"],
    ["status 422", { status: 422 }, "validation"],
    ["a platform response", response(503), "unavailable"],
    ["a platform transport error", new HttpClientError.RequestError({ request, reason: "Transport" }), "network"],
    [
      "a platform transport error with a code behind it",
      new HttpClientError.RequestError({ request, reason: "Transport", cause: coded("ETIMEDOUT") }),
      "timeout"
    ],
    [
      "a platform system error",
      new PlatformError.SystemError({ module: "FileSystem", method: "open", reason: "PermissionDenied" }),
      "permission"
    ],
    ["a provider's refusal", modelResponse(429), "rate-limit"],
    ["a provider that is overloaded", modelResponse(529), "unavailable"],
    ["a provider's answer that is none", modelResponse(200, "EmptyBody"), "validation"],
    [
      "a provider that cannot be reached",
      new AiError.HttpRequestError({ ...model, request: modelRequest, reason: "Transport" }),
      "network"
    ],
    ["a prompt that cannot be sent", new AiError.MalformedInput(model), "validation"],
    ["an answer in the wrong form", new AiError.MalformedOutput(model), "validation"],
    ["a busy database", new SqlError({ cause: coded("SQLITE_BUSY_SNAPSHOT") }), "unavailable"],
    ["a damaged database", new SqlError({ cause: coded("SQLITE_CORRUPT") }), "corruption"],
    ["a serialization failure", new SqlError({ cause: coded("40001") }), "conflict"],
    ["a duplicate key", new SqlError({ cause: coded("23505") }), "conflict"],
    ["a lost database connection", new SqlError({ cause: coded("08006") }), "network"],
    ["a parse error", parseError, "validation"],
    ["nothing found", new Cause.NoSuchElementException(), "not-found"],
    ["an abort signal", new DOMException("stop", "AbortError"), "cancelled"],
    ["a signal's timeout", new DOMException("slow", "TimeoutError"), "timeout"],
    ["a bug", new TypeError("x is not a function"), "logic"],
    ["a failed JSON.parse", new SyntaxError("Unexpected token"), "validation"],
    ["a code that is spelled out", new Error("connect ECONNREFUSED 10.0.0.7:5432"), "network"],
    ["a code in a text, before words", "open /etc/x: EACCES, file not found", "permission"],
    ["capitals that are no code", "ERROR: EVERYTHING ENDED", "unknown"],
    ["words, last", new Error("the connection was closed, connection reset by peer"), "network"],
    ["a string", "Too Many Requests", "rate-limit"],
    ["words inside other words do not count", new Error("failed to generate: boom, timeouts=0"), "unknown"],
    ["what a promise wraps", new Cause.UnknownException(new DOMException("slow", "TimeoutError")), "timeout"],
    ["what a domain error wraps", Object.assign(new Error("x"), { cause: new Cause.TimeoutException() }), "timeout"],
    ["Chromium's failed fetch", new TypeError("Failed to fetch"), "network"],
    ["Safari's failed fetch", new TypeError("Load failed"), "network"],
    [
      "an abort by a timeout signal",
      Object.assign(coded("ABORT_ERR"), { name: "AbortError", cause: new DOMException("slow", "TimeoutError") }),
      "timeout"
    ],
    ["the first of Promise.any's errors", new AggregateError([coded("ECONNREFUSED"), coded("ENOENT")]), "network"],
    ["a refused privilege", coded("42501"), "permission"],
    ["a lock not available", coded("55P03"), "unavailable"],
    ["an address in use", coded("EADDRINUSE"), "conflict"],
    ["a prototype's name as reason", { _tag: "SystemError", reason: "toString" }, "unknown"],
    ["an exhausted recovery of a refusal", exhausted({ status: 403 }), "permission"],
    ["a schema error of zod", named("ZodError"), "validation"],
    ["a schema error of joi, yup, ajv or mongoose", named("ValidationError"), "validation"],
    ["a value with such a tag and no name", { _tag: "ValidationError" }, "validation"],
    ["an expired token", named("TokenExpiredError"), "permission"],
    ["a throttled request of an SDK", named("ThrottlingException"), "rate-limit"],
    ["a connection error of an SDK", named("APIConnectionError"), "network"],
    ["a missing document", named("DocumentNotFoundError"), "not-found"],
    ["a lost update", named("OptimisticLockError"), "conflict"],
    ["no idea", new Error("hm"), "unknown"],
    ["undefined", undefined, "unknown"],
    ["null", null, "unknown"]
  ]
  for (const [title, error, category] of rows) {
    it(`${title} is ${category}`, () => {
      assert.strictEqual(classify(error).category, category)
    })
  }

  it("the shape of an error outweighs its text, with higher confidence", () => {
    const fault = classify(Object.assign(coded("ENOENT"), { message: "connection refused, timed out" }))
    assert.strictEqual(fault.category, "not-found")
    assert.strictEqual(fault.confidence, 0.95)
    assert.strictEqual(classify("timed out").confidence, 0.5)
    assert.strictEqual(classify("hm").confidence, 0)
  })

  describe("DetailedRules", () => {
    const rows: ReadonlyArray<readonly [title: string, error: unknown, category: string]> = [
      ["a name that is not resolved", coded("ENOTFOUND"), "dns"],
      ["one in words", new Error("getaddrinfo failed for db.internal"), "dns"],
      ["a certificate that has run out", coded("CERT_HAS_EXPIRED"), "certificate"],
      ["a disk that is full", coded("ENOSPC"), "disk"],
      ["a quota", coded("EDQUOT"), "quota"],
      ["no memory", new Error("JavaScript heap out of memory"), "memory"],
      ["a processor that is throttled", new Error("CPU throttled by the host"), "cpu"],
      ["no credentials", { status: 401 }, "authentication"],
      ["maintenance", new Error("The service is under maintenance"), "maintenance"],
      ["a setting that is missing", new Error("missing environment variable DATABASE_URL"), "configuration"],
      ["a schema", new Error("schema mismatch: expected v2"), "schema"],
      ["a form", new Error("Unexpected token < in JSON"), "format"],
      ["what is known by its status", { status: 503, message: "under maintenance" }, "unavailable"],
      ["what is known by its code", Object.assign(coded("ECONNRESET"), { message: "out of memory" }), "network"],
      ["what no rule knows", new Error("hm"), "unknown"]
    ]
    for (const [title, error, category] of rows) {
      it(`${title} is ${category}`, () => {
        const fault = Effect.runSync(Effect.provide(Fault.classify(error), Fault.layer(...DetailedRules.rules)))
        assert.strictEqual(fault.category, category)
      })
    }
  })

  it("drops guesses below the minimum confidence, not declarations", () => {
    const classified = (failure: unknown) =>
      Effect.runSync(
        Effect.map(Effect.provide(Fault.classify(failure), Fault.layerAtLeast(0.6)), ({ category }) => category)
      )
    assert.strictEqual(classified("the connection was closed, timed out"), "unknown")
    assert.strictEqual(classified("connect ECONNREFUSED 10.0.0.1:443"), "network")
    assert.strictEqual(classified({ status: 503 }), "unavailable")
    class Sure extends Data.TaggedError("Sure")<{}> {
      readonly [Fault.declared] = Fault.declare({ category: "conflict", confidence: 0.1 })
    }
    assert.strictEqual(classified(new Sure()), "conflict")
  })

  it("an error class may declare its fault", () => {
    class Quota extends Data.TaggedError("Quota")<{ readonly code: string }> {
      readonly [Fault.declared] = Fault.declare({ category: "rate-limit", severity: "high", retryAfter: "1 hour" })
    }
    const fault = classify(new Quota({ code: "ENOENT" }))
    assert.strictEqual(fault.category, "rate-limit")
    assert.strictEqual(fault.severity, "high")
    assert.strictEqual(fault.confidence, 1)
    assert.isTrue(fault.transient)
    assert.deepStrictEqual(fault.retryAfter, Option.some(Duration.hours(1)))
    assert.deepStrictEqual(fault.tag, Option.some("Quota"))
  })

  it("uses the valid parts of an invalid declaration", () => {
    const odd = { [Fault.declared]: { category: "constructor", severity: "toString", transient: 1, confidence: 7 } }
    const fault = classify(odd)
    assert.strictEqual(fault.severity, "medium")
    assert.strictEqual(fault.confidence, 1)
    assert.isFalse(fault.transient)
  })

  it("user rules come first, and a rule that throws is skipped", () => {
    const rules = Fault.layer(
      Fault.when(
        "broken",
        () => {
          throw new Error("bug")
        },
        { category: "logic" }
      ),
      Fault.code("E_SHOP_*", { category: "conflict" }),
      Fault.status(503, { category: "maintenance", transient: true }),
      Fault.message(/\bledger\b/gi, { category: "ledger" }),
      Fault.instanceOf(RangeError, { category: "validation" })
    )
    const fault = (error: unknown) =>
      Fault.classify(error).pipe(Effect.provide([rules, Logger.remove(Logger.defaultLogger)]), Effect.runSync)
    assert.strictEqual(fault(coded("E_SHOP_LOCK")).category, "conflict")
    assert.strictEqual(fault({ status: 503 }).category, "maintenance")
    for (let i = 0; i < 3; i++) assert.strictEqual(fault("the ledger is closed").category, "ledger")
    assert.strictEqual(fault(new RangeError("x")).category, "validation")
    assert.strictEqual(fault({ status: 404 }).category, "not-found")
  })

  it("reads Retry-After from all forms of headers", () => {
    const wait = (error: unknown) => classify(error).retryAfter
    assert.deepStrictEqual(wait(response(429, { "retry-after": "7" })), Option.some(Duration.seconds(7)))
    const headers = Headers.fromInput({ "Retry-After": "8" })
    assert.deepStrictEqual(wait({ response: { status: 503, headers } }), Option.some(Duration.seconds(8)))
    const web = { status: 503, headers: new globalThis.Headers({ "retry-after": "9" }) }
    assert.deepStrictEqual(wait({ response: web }), Option.some(Duration.seconds(9)))
    assert.deepStrictEqual(wait(response(503)), Option.none())
  })

  describe("of a Cause", () => {
    it("classifies the worst of several failures", () => {
      const cause = Cause.parallel(
        Cause.fail({ status: 429 }),
        Cause.sequential(Cause.fail(coded("ECONNRESET")), Cause.die(new TypeError("bug")))
      )
      const fault = classify(cause)
      assert.strictEqual(fault.category, "logic")
      assert.strictEqual(fault.cause, cause)
    })
    it("interruption alone is cancelled, and is ignored beside a failure", () => {
      assert.strictEqual(classify(Cause.interrupt(FiberId.none)).category, "cancelled")
      const both = Cause.parallel(Cause.interrupt(FiberId.none), Cause.fail({ status: 503 }))
      assert.strictEqual(classify(both).category, "unavailable")
    })
    it("an empty cause is unknown", () => {
      assert.strictEqual(classify(Cause.empty).category, "unknown")
    })
  })

  describe("the fingerprint", () => {
    const print = (message: string) => classify(new Error(message)).fingerprint
    it("ignores numbers, ids, paths and quoted text", () => {
      assert.strictEqual(
        print(`job 17 of "nightly" failed at /srv/a/b.txt, id 6a0e3d9e-7a0c-4e55-9d3e-0a4b1d9a7c11`),
        print(`job 4 of "weekly" failed at /home/x/y/z.log, id 11111111-2222-3333-4444-555555555555`)
      )
    })
    it("is not misled by apostrophes, units of length and single folders", () => {
      assert.strictEqual(print("can't read 'a'"), print("can't read 'b'"))
      assert.strictEqual(print("server9 refused"), print("server10 refused"))
      assert.strictEqual(print("took 9999999 ms"), print("took 10000000 ms"))
      assert.strictEqual(print("cannot open /tmp"), print("cannot open /var"))
      assert.strictEqual(print("cannot open src/a.ts"), print("cannot open src/b.ts"))
    })
    it("differs for different failures and categories", () => {
      assert.notStrictEqual(print("cannot open the door"), print("cannot open the window"))
      assert.notStrictEqual(classify({ status: 503 }).fingerprint, classify({ status: 404 }).fingerprint)
    })
  })

  describe("is total", () => {
    const hostile: ReadonlyArray<readonly [string, () => unknown]> = [
      [
        "getters that throw",
        () =>
          Object.defineProperties(
            {},
            Object.fromEntries(
              ["_tag", "name", "code", "status", "message", "cause", "retryAfter", "response", "reason"].map((key) => [
                key,
                {
                  get: () => {
                    throw new Error(key)
                  }
                }
              ])
            )
          )
      ],
      [
        "a proxy that throws at everything",
        () =>
          new Proxy(
            {},
            {
              get: () => {
                throw new Error("no")
              },
              has: () => {
                throw new Error("no")
              },
              getPrototypeOf: () => {
                throw new Error("no")
              }
            }
          )
      ],
      [
        "a cyclic cause",
        () => {
          const error: { cause?: unknown; message: string } = { message: "loop" }
          error.cause = error
          return error
        }
      ],
      ["a message of ten megabytes", () => new Error("a1 /b/c ".repeat(1_250_000))],
      [
        "a revoked proxy",
        () => {
          const { proxy, revoke } = Proxy.revocable({}, {})
          revoke()
          return proxy
        }
      ],
      ["an object without a prototype", () => Object.create(null)],
      ["a symbol", () => Symbol("x")],
      ["a function", () => () => 1]
    ]
    for (const [title, make] of hostile) {
      it(title, () => {
        const fault = classify(make())
        assert.isString(fault.category)
        assert.isAtMost(fault.message.length, 2_000)
      })
    }

    it.effect.prop(
      "any value is classified, twice the same",
      { value: FastCheck.anything({ withNullPrototype: true, withBigInt: true, withDate: true }) },
      ({ value }) =>
        Effect.gen(function* () {
          const fault = yield* Fault.classify(value)
          assert.include(["low", "medium", "high", "critical"], fault.severity)
          assertBetween(fault.confidence, 0, 1)
          assert.strictEqual((yield* Fault.classify(value)).fingerprint, fault.fingerprint)
        })
    )

    it.effect.prop("any text, as message, code and tag", { text: FastCheck.string() }, ({ text }) =>
      Effect.map(Fault.classify({ _tag: text, code: text, message: text, name: text, reason: text }), (fault) => {
        assert.isString(fault.fingerprint)
      })
    )
  })
})

describe("Fault.classify of unusual errors", () => {
  it.effect("reads the error inside of Effect.tryPromise's UnknownException", () =>
    Effect.gen(function* () {
      const faultOf = (message: string) =>
        Effect.flatMap(Effect.flip(Effect.tryPromise(() => Promise.reject(new Error(message)))), Fault.classify)
      const [one, other] = [yield* faultOf("parse failed"), yield* faultOf("totally different")]
      assert.strictEqual(one.message, "parse failed")
      assert.notStrictEqual(one.fingerprint, other.fingerprint)
    })
  )

  it.effect("survives errors that are not a list or have no length", () =>
    Effect.gen(function* () {
      const { proxy, revoke } = Proxy.revocable([], {})
      revoke()
      const get = () => {
        throw new Error("no")
      }
      for (const errors of [proxy, new Proxy([], { get })]) {
        assert.strictEqual((yield* Fault.classify({ errors })).category, "unknown")
      }
      const retryAfter = { [Symbol.for("effect/Duration")]: 1 }
      const { calls, effect } = alwaysFailing({ retryAfter })
      yield* toTheEnd(effect.pipe(RetryPolicy.retry(RetryPolicy.fixed({ maxRetries: 1 }))))
      assert.strictEqual(calls.length, 2)
    })
  )

  it("takes linear time for one long word", () => {
    const message = "a".repeat(2_000)
    const millis = processorMillis(() => {
      for (let i = 0; i < 100; i++) Effect.runSync(Fault.classify(new Error(message)))
    })
    assert.isBelow(millis, 1_000)
  })
})
