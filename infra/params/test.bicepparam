using '../main.bicep'

// For load tests and rehearsals: built like production, private and Premium, in the smallest size that shows the truth.
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'test')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param stage = 'test'
param isolated = true // a missing DNS zone or endpoint shows here, not in production
param zoneRedundant = false // zones change prices, not behaviour
param locked = false // it is torn down after a rehearsal

param stateAccounts = 2 // more than one, so that spreading is tried
param stateBuckets = 64
param storageSku = 'Standard_LRS'

// One messaging unit is about 4 MB a second: half of production's, so a load test uses half of production's load.
param serviceBus = {
  sku: 'Premium'
  capacity: 1
  queueSizeMb: 5120
}

// 2 MB in a second to begin with; grows during a load test, as production does.
param eventHubs = {
  sku: 'Standard'
  capacity: 2
  maximumCapacity: 10
  retentionHours: 72
  capture: false
}

param vaultSku = 'standard'

// One warm instance where production has some, so that the code path is the same; caps at half of production's.
param sizes = {
  api: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [{ name: 'http', instanceCount: 1 }], httpConcurrency: 32 }
  high: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [{ name: 'function:lane_high', instanceCount: 1 }], httpConcurrency: 1 }
  bulk: { memoryMb: 2048, maximumInstances: 50, alwaysReady: [], httpConcurrency: 1 }
  ordered: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1 }
  streams: { memoryMb: 2048, maximumInstances: 40, alwaysReady: [], httpConcurrency: 1 }
}

param retention = {
  claimDays: 60
  inboxDays: 60
  deadLetterDays: 30
  queueTtlDays: 14
  softDeleteDays: 14
  logDays: 30
}

param logCapGb = 5 // a load test writes much in an hour
