import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Fault } from "effect-recovery"
import { PipelineRules } from "effect-recovery/rules"
import { processorMillis } from "../support/time.js"

const classify = (failure: unknown) =>
  Fault.classify(failure).pipe(Effect.provide(Fault.layer(...PipelineRules.rules)), Effect.runSync)

describe("PipelineRules.rules", () => {
  const categories: Readonly<Record<string, ReadonlyArray<string>>> = {
    linting: [
      "flake8 found 3 errors",
      "eslint: 1 error",
      "syntax error near }",
      "SyntaxError: Unexpected token",
      "import of 'x' not found",
      "undefined name 'y'"
    ],
    formatting: ["black would reformat 2 files", "prettier check failed", "formatting check failed"],
    testing: [
      "3 tests failed",
      "test_login failed",
      "\u001b[31mtests failed\u001b[0m",
      "AssertionError: 1 != 2",
      "pytest failed with code 1",
      "coverage failed: 79 %"
    ],
    build: ["build failed", "compilation error in a.ts", "webpack failed", "docker build failed"],
    deployment: ["deployment failed", "deployment error", "deploy error", "push to main failed", "registry error 500"],
    dependency: [
      "dependency left-pad not found",
      "npm install failed",
      "pip install failed",
      "requirements not satisfied"
    ],
    timeout: ["job hit its timeout", "deadline was exceeded", "the step timed-out"],
    infrastructure: [
      "infrastructure error",
      "network error",
      "the connection was refused",
      "service is temporarily unavailable"
    ]
  }
  for (const [category, texts] of Object.entries(categories)) {
    for (const text of texts) {
      it(`${category}: ${text}`, () => assert.strictEqual(classify(new Error(text)).category, category))
    }
  }

  it("words inside other words do not count", () => {
    assert.strictEqual(classify(new Error("the latest failedover contestant")).category, "unknown")
    assert.strictEqual(classify(new Error("rebuild failedness")).category, "unknown")
    assert.strictEqual(classify(new Error("forewarnings ignored")).severity, "medium")
    assert.strictEqual(classify({ logs: `latest failed${" ".repeat(4_989)}` }).category, "unknown")
    assert.strictEqual(classify({ logs: "ran with --timeout 30 and stopped" }).category, "unknown")
  })

  it("versions and attempted work are not negations", () => {
    for (const text of ["build 1.0 failed", "release 2.0 build failed", "npm could not install react: failed"]) {
      assert.notStrictEqual(classify(new Error(text)).category, "unknown", text)
    }
  })

  it("negated words do not count", () => {
    for (const text of [
      "0 tests failed",
      "tests passed, 0 failures",
      "compilation completed, 0 errors",
      "no security vulnerabilities found",
      "0 security vulnerabilities",
      "non-critical error",
      "production: build slowed down",
      "deployment was not blocked"
    ]) {
      assert.deepInclude(classify(new Error(text)), { category: "unknown", severity: "medium" }, text)
    }
    assert.strictEqual(classify(new Error("eslint: 0 errors, 0 warnings\npush failed")).category, "deployment")
  })

  const severities: ReadonlyArray<readonly [severity: Fault.Severity, text: string]> = [
    ["critical", "deployment blocked, 3 tests failed, warning: slow"],
    ["critical", "minor style issue; security vulnerability in x"],
    ["critical", "production is down"],
    ["critical", "warning\ncritical error"],
    ["critical", "2 critical errors"],
    ["high", "all tests failed with a warning"],
    ["high", "all 12 tests failed"],
    ["high", "all unit tests failed"],
    ["high", "all 3 end-to-end tests are failing"],
    ["high", "all of the tests have failed"],
    ["medium", "after all, 3 tests failed"],
    ["medium", "deployment failed\nwarning: deprecated"],
    ["high", "main branch is broken: build failed"],
    ["medium", "2 tests failed, 1 warning"],
    ["medium", "npm install failed"],
    ["low", "eslint error: only a minor issue"]
  ]
  for (const [severity, text] of severities) {
    it(`${severity}: ${text.replace("\n", " ")}`, () =>
      assert.strictEqual(classify(new Error(text)).severity, severity))
  }

  it("reads the name of the job and the end of the logs", () => {
    const logs = `${"ok\n".repeat(100_000)}4 tests failed`
    assert.strictEqual(classify({ job: "unit", logs }).category, "testing")
    assert.strictEqual(classify({ job: "deployment", message: "exit code 1: failed" }).category, "deployment")
    assert.strictEqual(classify({ job: "eslint", logs: "checked\n3 errors" }).category, "linting")
    assert.strictEqual(classify(new Error(`${"x".repeat(9_000)}\ndeployment failed`)).category, "deployment")
  })

  it("reads the messages of the causes", () => {
    const error = new Error("build failed", { cause: new Error("critical error") })
    assert.deepInclude(classify(error), { category: "build", severity: "critical" })
    const wrapped = new Error("all tests have failed us, see cause", { cause: { code: "ECONNRESET" } })
    assert.deepInclude(classify(wrapped), { category: "testing" })
    const minor = new Error("a minor issue", { cause: { code: "ECONNRESET" } })
    assert.deepInclude(classify(minor), { category: "network", transient: true })
  })

  it("an error without such words is classified by the other rules; a word can only raise its severity", () => {
    const reset = Object.assign(new Error("warning"), { code: "ECONNRESET" })
    assert.deepInclude(classify(reset), { category: "network", severity: "medium", transient: true })
    const worse = Object.assign(new Error("production went down"), { code: "ECONNRESET" })
    assert.deepInclude(classify(worse), { category: "network", severity: "critical" })
    assert.deepInclude(classify(new Error("plain")), { category: "unknown", confidence: 0 })
  })

  it("only infrastructure and timeouts are transient", () => {
    const transient = Object.entries(categories).filter(([, [text]]) => classify(new Error(text)).transient)
    assert.deepStrictEqual(
      transient.map(([category]) => category),
      ["timeout", "infrastructure"]
    )
  })

  it("reads long logs in linear time", () => {
    const millis = processorMillis(() => {
      classify({ logs: "import dependency tests eslint ".repeat(100_000), message: "import ".repeat(10_000) })
      classify({ job: "npm ci ".repeat(700), logs: "npm ci ".repeat(700).concat("\n").repeat(20) })
    })
    assert.isBelow(millis, 2_000)
  })
})
