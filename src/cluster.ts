/**
 * @since 0.1.0
 */

export * as ClusterWorkers from "./cluster/ClusterWorkers.js"
