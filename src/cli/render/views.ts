import { bold, plain, record, type Screen, table } from "./table.js"

/** What an operator answered; it may be of another version than this command line. */
type Json = unknown

export const at = (value: Json, ...path: ReadonlyArray<string>): Json =>
  path.reduce<Json>(
    (found, name) =>
      typeof found === "object" && found !== null ? Object.getOwnPropertyDescriptor(found, name)?.value : undefined,
    value
  )

export const list = (value: Json): ReadonlyArray<Json> => (Array.isArray(value) ? value : [])

const entries = (value: Json): ReadonlyArray<readonly [string, Json]> =>
  typeof value === "object" && value !== null ? Object.entries(value) : []

const time = (value: Json): string => (typeof value === "string" ? value.slice(0, 19).replace("T", " ") : "")

const percent = (value: Json): string => (typeof value === "number" ? `${(value * 100).toFixed(0)} %` : "")

const pairs = (value: Json): string =>
  entries(value)
    .map(([name, one]) => `${name}=${typeof one === "object" ? JSON.stringify(one) : one}`)
    .join(" ")

const rows = (
  screen: Screen,
  value: Json,
  none: string,
  columns: Readonly<Record<string, (row: Json) => Json>>
): string =>
  list(value).length === 0
    ? none
    : table(
        screen,
        Object.keys(columns),
        list(value).map((row) => Object.values(columns).map((column) => column(row)))
      )

const of =
  (...path: ReadonlyArray<string>) =>
  (row: Json): Json =>
    at(row, ...path)

const section = (screen: Screen, title: string, body: string): string => `${bold(screen, title)}\n${body}`

export const recoveries = (screen: Screen, value: Json): string =>
  rows(screen, value, "no recoveries", {
    recovery: of("id"),
    type: of("type"),
    status: of("status"),
    failure: (row) => at(row, "failure") ?? at(row, "run"),
    started: (row) => time(at(row, "startedAt")),
    message: of("message")
  })

export const checkpoints = (screen: Screen, value: Json): string =>
  rows(screen, value, "no checkpoints", {
    checkpoint: of("id"),
    name: of("name"),
    kind: of("kind"),
    run: (row) => at(row, "run") ?? at(row, "labels", "run"),
    saved: (row) => time(at(row, "at")),
    bytes: of("size")
  })

export const dashboard = (screen: Screen, value: Json): string => {
  const summary = at(value, "recovery_summary")
  const types = entries(at(value, "recovery_by_type")).map(([type, of]) => [
    type,
    at(of, "successful"),
    at(of, "total")
  ])
  return [
    section(
      screen,
      "Recoveries",
      record(
        screen,
        ["total", "successful", "failed", "in progress", "success rate"],
        [
          at(summary, "total_recoveries"),
          at(summary, "successful_recoveries"),
          at(summary, "failed_recoveries"),
          at(summary, "in_progress_recoveries"),
          `${Number(at(summary, "success_rate") ?? 0).toFixed(2)} %`
        ]
      )
    ),
    ...(types.length === 0 ? [] : [section(screen, "By type", table(screen, ["type", "successful", "of"], types))]),
    section(screen, "Latest", recoveries(screen, at(value, "recent_recoveries"))),
    section(screen, "Checkpoints", checkpoints(screen, at(value, "checkpoint_status")))
  ].join("\n\n")
}

export const recovery = (screen: Screen, value: Json): string => {
  const about = record(
    screen,
    ["recovery", "type", "status", "failure", "run", "target", "reason", "started", "ended", "error"],
    [
      at(value, "id"),
      at(value, "type"),
      at(value, "status"),
      at(value, "failure"),
      at(value, "run"),
      at(value, "target"),
      at(value, "reason"),
      time(at(value, "startedAt")),
      time(at(value, "completedAt")),
      at(value, "error")
    ]
  )
  const progress = rows(screen, at(value, "progress"), "", {
    step: of("step"),
    status: of("status"),
    detail: of("detail")
  })
  const problems = [...list(at(value, "validation", "errors")), ...list(at(value, "validation", "warnings"))]
  return [about, progress, problems.map(plain).join("\n")].filter((part) => part !== "").join("\n\n")
}

export const failures = (screen: Screen, value: Json): string =>
  rows(screen, value, "no failures", {
    failure: of("id"),
    status: of("status"),
    category: of("category"),
    severity: of("severity"),
    run: of("run"),
    detected: (row) => time(at(row, "detectedAt")),
    message: of("message")
  })

export const failure = (screen: Screen, value: Json): string =>
  record(
    screen,
    [
      "failure",
      "status",
      "category",
      "severity",
      "run",
      "step",
      "detected",
      "retries",
      "resolved by",
      "labels",
      "message"
    ],
    [
      at(value, "id"),
      at(value, "status"),
      at(value, "category"),
      at(value, "severity"),
      at(value, "run"),
      at(value, "step"),
      time(at(value, "detectedAt")),
      at(value, "retries"),
      at(value, "resolvedBy"),
      pairs(at(value, "labels")),
      at(value, "message")
    ]
  )

export const runs = (screen: Screen, value: Json): string =>
  rows(screen, value, "no runs", {
    run: of("id"),
    workflow: of("workflow"),
    status: of("status"),
    created: (row) => time(at(row, "createdAt")),
    executions: of("executions"),
    waits: (row) =>
      list(at(row, "waiting"))
        .map((wait) => at(wait, "about"))
        .join(", ")
  })

export const run = (screen: Screen, value: Json): string => {
  const steps = rows(screen, at(value, "steps"), "no steps", {
    step: of("key"),
    status: of("status"),
    attempts: of("attempts"),
    started: (row) => time(at(row, "startedAt")),
    undo: of("compensation")
  })
  const waits = rows(screen, at(value, "waits"), "", {
    question: of("id"),
    kind: of("kind"),
    about: of("about"),
    answered: of("answered")
  })
  return [runs(screen, [value]), steps, waits].filter((part) => part !== "").join("\n\n")
}

export const suggestions = (screen: Screen, value: Json): string =>
  rows(screen, value, "no suggestions", {
    strategy: of("strategy"),
    confidence: (row) => percent(at(row, "confidence")),
    success: (row) => percent(at(row, "estimatedSuccess")),
    cases: of("cases"),
    parameters: (row) => pairs(at(row, "parameters")),
    reason: of("reason")
  })

const rates = (screen: Screen, title: string, value: Json): ReadonlyArray<string> => {
  const found = entries(value)
  if (found.length === 0) return []
  const body = table(
    screen,
    ["", "successful", "of", "rate"],
    found.map(([name, rate]) => [name, at(rate, "successful"), at(rate, "total"), percent(at(rate, "successRate"))])
  )
  return [section(screen, title, body)]
}

const millis = (value: Json): string => {
  if (typeof value !== "number") return ""
  return value < 1_000
    ? `${value.toFixed(0)} ms`
    : value < 120_000
      ? `${(value / 1_000).toFixed(1)} s`
      : `${(value / 60_000).toFixed(1)} min`
}

/** What statistics come to. */
const standingOf = (screen: Screen, value: Json): string => {
  const ttr = at(value, "timeToRecover")
  return record(
    screen,
    ["health", "trend", "failures", "open", "recoveries", "success rate", "time to recover"],
    [
      at(value, "health"),
      at(value, "trend"),
      at(value, "failures"),
      at(value, "openFailures"),
      at(value, "recoveries", "total"),
      percent(at(value, "recoveries", "successRate")),
      ttr === null ? "" : `${millis(at(ttr, "mean"))}, 95 % within ${millis(at(ttr, "p95"))}`
    ]
  )
}

/** The numbers of an overview. */
export const standing = (screen: Screen, value: Json): string => {
  const statistics = at(value, "statistics")
  const summary = at(value, "dashboard", "recovery_summary")
  const ttr = at(statistics, "timeToRecover", "mean")
  const numbers = [
    `health ${at(statistics, "health")}`,
    `trend ${at(statistics, "trend")}`,
    `recoveries ${at(summary, "total_recoveries")}`,
    `success ${Number(at(summary, "success_rate") ?? 0).toFixed(2)} %`,
    `in progress ${at(summary, "in_progress_recoveries")}`,
    `open failures ${at(statistics, "openFailures")}`,
    ...(typeof ttr === "number" ? [`time to recover ${millis(ttr)}`] : [])
  ]
  return paragraph(numbers.map(plain), "   ", screen.width)
}

/** Side by side as far as there is room. */
const paragraph = (parts: ReadonlyArray<string>, between: string, width: number | undefined): string => {
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines.at(-1)
    const longer = last === undefined ? part : last + between + part
    if (last !== undefined && (width === undefined || longer.length <= width)) lines[lines.length - 1] = longer
    else lines.push(part)
  }
  return lines.join("\n")
}

export const questions = (screen: Screen, value: Json): string =>
  rows(screen, value, "no questions", {
    run: of("run"),
    question: of("id"),
    asked: (row) => time(at(row, "since")),
    for: of("to"),
    about: of("about")
  })

export const statistics = (screen: Screen, value: Json): string => {
  const steps = rows(screen, at(value, "steps"), "", {
    step: of("step"),
    times: of("count"),
    mean: (row) => millis(at(row, "mean")),
    p50: (row) => millis(at(row, "p50")),
    p95: (row) => millis(at(row, "p95"))
  })
  const retried = rows(screen, at(value, "mostRetried"), "", {
    step: of("step"),
    retries: of("retries"),
    successful: of("successful"),
    "mean delay": (row) => millis(at(row, "meanDelay"))
  })
  const frequent = rows(screen, at(value, "frequentErrors"), "", { fingerprint: of("name"), failures: of("count") })
  return [
    standingOf(screen, value),
    ...rates(screen, "By strategy", at(value, "byStrategy")),
    ...(frequent === "" ? [] : [section(screen, "Most frequent", frequent)]),
    ...(retried === "" ? [] : [section(screen, "Most retried", retried)]),
    ...(steps === "" ? [] : [section(screen, "Steps that take most", steps)])
  ].join("\n\n")
}

export const period = (screen: Screen, value: Json): string =>
  [
    record(
      screen,
      ["recoveries", "successful", "success rate", "affected"],
      [
        at(value, "recoveries", "total"),
        at(value, "recoveries", "successful"),
        percent(at(value, "recoveries", "successRate")),
        at(value, "affected")
      ]
    ),
    ...rates(screen, "By strategy", at(value, "byStrategy")),
    ...rates(screen, "By category", at(value, "byCategory"))
  ].join("\n\n")

export const health = (screen: Screen, value: Json): string =>
  [
    rows(screen, at(value, "checks"), "", {
      check: of("name"),
      status: of("status"),
      message: of("message"),
      about: (row) => list(at(row, "about")).join(" ")
    }),
    section(
      screen,
      "Runs",
      rows(screen, at(value, "runs"), "no runs", {
        workflow: of("workflow"),
        status: of("status"),
        runs: of("runs"),
        newest: (row) => time(at(row, "newest"))
      })
    )
  ].join("\n\n")

export const patterns = (screen: Screen, value: Json): string =>
  list(value).length === 0
    ? "no patterns"
    : list(value)
        .map((pattern) => {
          const title = `${at(pattern, "count")} of ${at(pattern, "category")}: ${list(at(pattern, "words")).join(", ")}`
          const names = [
            "example",
            "newest",
            ...list(at(pattern, "resolutions")).map((_, i) => (i === 0 ? "to do" : ""))
          ]
          const example = [at(pattern, "example"), list(at(pattern, "failures")).slice(0, 3).join(" ")]
          return section(screen, plain(title), record(screen, names, [...example, ...list(at(pattern, "resolutions"))]))
        })
        .join("\n\n")

export const tuning = (screen: Screen, value: Json): string => {
  const proposal = at(value, "proposal")
  const retries = rows(screen, at(value, "retries"), "", {
    retry: of("retry"),
    successful: of("successful"),
    of: of("total"),
    after: (row) => millis(at(row, "delay"))
  })
  const policy = record(
    screen,
    ["policy", "success", "why"],
    [pairs(at(proposal, "policy")), percent(at(proposal, "estimatedSuccess")), at(proposal, "reason")]
  )
  return [
    record(
      screen,
      ["step", "cases", "success rate", "timeout"],
      [at(value, "step"), at(value, "cases"), percent(at(value, "successRate")), millis(at(value, "attemptTimeout"))]
    ),
    retries,
    proposal === null ? "too few cases for a proposal" : section(screen, "Proposal", policy)
  ]
    .filter((part) => part !== "")
    .join("\n\n")
}

export const escalations = (screen: Screen, value: Json): string =>
  rows(screen, value, "no escalations", {
    escalation: of("id"),
    level: of("level"),
    status: of("status"),
    raised: (row) => time(at(row, "raisedAt")),
    by: (row) => at(row, "resolvedBy") ?? at(row, "acknowledgedBy"),
    message: of("message")
  })

export const locks = (screen: Screen, value: Json): string =>
  rows(screen, value, "no locks", { lock: of("lock"), state: of("state"), token: of("token"), owner: of("owner") })

export const validity = (screen: Screen, value: Json): string => {
  const lines = [
    ...list(at(value, "errors")).map((error) => `error    ${plain(error)}`),
    ...list(at(value, "warnings")).map((warning) => `warning  ${plain(warning)}`)
  ]
  return [bold(screen, at(value, "is_valid") === true ? "valid" : "not valid"), ...lines].join("\n")
}

export const cleanup = (screen: Screen, value: Json): string =>
  record(
    screen,
    entries(value).map(([name]) => name),
    entries(value).map(([, count]) => count)
  )
