/**
 * @since 0.1.0
 */

export * as Chain from "./chain/Chain.js"
