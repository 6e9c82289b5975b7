metadata description = 'When somebody is called: what users feel first, then what will be felt soon.'

@description('Name of the action group.')
param actionGroupName string

@description('Prefix of the rules\' names.')
param prefix string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Who is written to.')
param emails array

@description('Id of the workspace that the queries run in.')
param workspaceId string

@description('Id of the Service Bus namespace.')
param serviceBusId string

@description('Whether it is Premium, which has a saturation of its own.')
param serviceBusPremium bool

@description('Id of the Event Hubs namespace.')
param eventHubsId string

@description('Id of the vault.')
param vaultId string

@description('The storage accounts: a list of name and id.')
param accounts array

@description('How many consumer groups read the hub.')
param consumerGroups int

@description('Age of the oldest message that waits on the high lane, in seconds.')
param highAgeSeconds int

@description('Age of the oldest message that waits on another lane, in seconds.')
param otherAgeSeconds int

@description('95th percentile of the time from acceptance to the end of the handler, in seconds.')
param latencySeconds int

@description('Failed messages in five minutes.')
param failuresPerFiveMinutes int

@description('Messages that wait on one queue.')
param backlogMessages int

@description('Share of messages and requests that have to succeed, in percent, for example 99.9.')
param objectivePercent string

@description('Whether half an hour without a message is a fault.')
param expectsTraffic bool

var messageRules = [
  {
    key: 'waiting-high'
    title: 'Urgent messages wait too long'
    text: 'The oldest message on the high lane is older than it should be. Look at the lane\'s instances and at throttling.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT5M'
    lookBack: 'PT6H'
    query: '${loadTextContent('../queries/waiting.kql')}| where lane == "high"'
    measure: 'age'
    operator: 'GreaterThan'
    threshold: highAgeSeconds
    periods: 1
    enabled: true
  }
  {
    key: 'waiting-others'
    title: 'Messages wait too long'
    text: 'The oldest message on a lane other than high is older than it should be.'
    severity: 2
    frequency: 'PT10M'
    window: 'PT10M'
    lookBack: 'PT6H'
    query: '${loadTextContent('../queries/waiting.kql')}| where lane != "high"'
    measure: 'age'
    operator: 'GreaterThan'
    threshold: otherAgeSeconds
    periods: 1
    enabled: true
  }
  {
    key: 'latency'
    title: 'High message latency'
    text: 'One message in twenty takes longer from acceptance to the end of its handler than it should.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    lookBack: 'PT1H'
    query: '${loadTextContent('../queries/latency.kql')}| where lane in ("high", "normal")'
    measure: 'seconds'
    operator: 'GreaterThan'
    threshold: latencySeconds
    periods: 1
    enabled: true
  }
  {
    key: 'failures'
    title: 'Message processing failures'
    text: 'More messages fail than a partner\'s hiccup explains. Group the dead letters, look at the last deployment.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT5M'
    lookBack: 'PT5M'
    query: loadTextContent('../queries/failures.kql')
    measure: 'failed'
    operator: 'GreaterThan'
    threshold: failuresPerFiveMinutes
    periods: 1
    enabled: true
  }
  {
    key: 'dead-letters'
    title: 'Dead letters'
    text: 'Messages were given up. They are kept, with their reason: python3 dev.py dead-letters groups.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT15M'
    lookBack: 'PT15M'
    query: loadTextContent('../queries/dead-letters.kql')
    measure: 'letters'
    operator: 'GreaterThan'
    threshold: 0
    periods: 1
    enabled: true
  }
  {
    key: 'api-errors'
    title: 'The API fails'
    text: 'Answers of 500 and above that no client caused, so it is an outage below or a bug.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT5M'
    lookBack: 'PT5M'
    query: loadTextContent('../queries/api-errors.kql')
    measure: 'failed'
    operator: 'GreaterThan'
    threshold: 5
    periods: 1
    enabled: true
  }
  {
    key: 'denied'
    title: 'Calls are denied'
    text: 'Fifty calls in five minutes had no valid token or key, or not the role. A client with an old key, or somebody who tries.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT5M'
    lookBack: 'PT5M'
    query: loadTextContent('../queries/denied.kql')
    measure: 'denied'
    operator: 'GreaterThanOrEqual'
    threshold: 50
    periods: 1
    enabled: true
  }
  {
    key: 'burn-rate'
    title: 'The error budget burns'
    text: 'At this pace a month\'s budget of failures is gone in two days.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT1H'
    lookBack: 'PT1H'
    query: replace(loadTextContent('../queries/burn-rate.kql'), '__OBJECTIVE__', objectivePercent)
    measure: 'burn'
    operator: 'GreaterThan'
    threshold: 14
    periods: 1
    enabled: true
  }
  {
    key: 'burn-rate-slow'
    title: 'The error budget burns slowly'
    text: 'At this pace a month\'s budget of failures is gone in five days.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT6H'
    lookBack: 'PT6H'
    query: replace(loadTextContent('../queries/burn-rate-slow.kql'), '__OBJECTIVE__', objectivePercent)
    measure: 'burn'
    operator: 'GreaterThan'
    threshold: 6
    periods: 1
    enabled: true
  }
  {
    key: 'no-traffic'
    title: 'No messages'
    text: 'Not one batch in half an hour. Either nobody sends, or nothing is taken from the queues.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    lookBack: 'PT30M'
    query: loadTextContent('../queries/no-traffic.kql')
    measure: 'batches'
    operator: 'LessThan'
    threshold: 1
    periods: 1
    enabled: expectsTraffic
  }
  {
    key: 'given-up'
    title: 'Accepted work is given up'
    text: 'A parked key went on undecided, a dead letter left its retention unseen, parked keys can not be drained, or events expired unread.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT15M'
    lookBack: 'PT15M'
    query: loadTextContent('../queries/given-up.kql')
    measure: 'given_up'
    operator: 'GreaterThan'
    threshold: 0
    periods: 1
    enabled: true
  }
  {
    key: 'stream-lag'
    title: 'Read models fall behind'
    text: 'More than a fifth of the last hour\'s events did not come out of the hub to every consumer group.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT1H'
    lookBack: 'PT1H'
    query: replace(loadTextContent('../queries/stream-lag.kql'), '__GROUPS__', string(consumerGroups))
    measure: 'lag'
    operator: 'GreaterThan'
    threshold: 20
    periods: 1
    enabled: true
  }
]

var resourceRules = [
  {
    key: 'backlog'
    title: 'A queue grows'
    text: 'More messages wait on one queue than its app takes in minutes.'
    severity: 2
    scopes: [serviceBusId]
    type: 'Microsoft.ServiceBus/namespaces'
    metric: 'ActiveMessages'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: backlogMessages
    dimensions: [
      {
        name: 'EntityName'
        operator: 'Include'
        values: ['*']
      }
    ]
  }
  {
    key: 'broker-dead-letters'
    title: 'Dead letters stay in the broker'
    text: 'The drain of a dead-letter queue does not keep up, or does not run.'
    severity: 2
    scopes: [serviceBusId]
    type: 'Microsoft.ServiceBus/namespaces'
    metric: 'DeadletteredMessages'
    aggregation: 'Minimum'
    operator: 'GreaterThan'
    threshold: 0
    dimensions: [
      {
        name: 'EntityName'
        operator: 'Include'
        values: ['*']
      }
    ]
  }
  {
    key: 'bus-throttled'
    title: 'Service Bus throttles'
    text: 'Requests were refused for going too fast. Standard: 1,000 credits a second; Premium: add a messaging unit.'
    severity: 2
    scopes: [serviceBusId]
    type: 'Microsoft.ServiceBus/namespaces'
    metric: 'ThrottledRequests'
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 10
    dimensions: []
  }
  {
    key: 'bus-errors'
    title: 'Service Bus fails'
    text: 'Errors on the service\'s side. Commands are answered 503 and sent again by their clients.'
    severity: 1
    scopes: [serviceBusId]
    type: 'Microsoft.ServiceBus/namespaces'
    metric: 'ServerErrors'
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 10
    dimensions: []
  }
  {
    key: 'hubs-throttled'
    title: 'Event Hubs throttles'
    text: 'Facts wait in the outbox. Raise the maximum of throughput units.'
    severity: 2
    scopes: [eventHubsId]
    type: 'Microsoft.EventHub/namespaces'
    metric: 'ThrottledRequests'
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 10
    dimensions: []
  }
  {
    key: 'vault-saturated'
    title: 'Key Vault is nearly full'
    text: 'Reads come near the vault\'s limit: instances x secrets / cache time. Raise the cache time.'
    severity: 2
    scopes: [vaultId]
    type: 'Microsoft.KeyVault/vaults'
    metric: 'SaturationShoebox'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: 75
    dimensions: []
  }
  {
    key: 'vault-unavailable'
    title: 'Key Vault fails'
    text: 'Secrets that are cached are still used; a new instance can not start.'
    severity: 1
    scopes: [vaultId]
    type: 'Microsoft.KeyVault/vaults'
    metric: 'Availability'
    aggregation: 'Average'
    operator: 'LessThan'
    threshold: 99
    dimensions: []
  }
]

// Each storage account has rules of its own: a metric rule watches one account, one namespace, one vault.
var storageRules = [
  {
    key: 'storage-throttled'
    title: 'Storage throttles'
    text: 'An account has reached its limit. State is spread by the number of accounts, which is fixed at birth.'
    severity: 2
    type: 'Microsoft.Storage/storageAccounts'
    metric: 'Transactions'
    aggregation: 'Total'
    operator: 'GreaterThan'
    threshold: 50
    dimensions: [
      {
        name: 'ResponseType'
        operator: 'Include'
        values: ['ServerBusyError', 'ClientThrottlingError', 'ClientAccountRequestThrottlingError', 'ClientAccountBandwidthThrottlingError']
      }
    ]
  }
  {
    key: 'storage-slow'
    title: 'Storage is slow'
    text: 'A transaction takes long on the service\'s side; batches take longer, and locks may run out.'
    severity: 3
    type: 'Microsoft.Storage/storageAccounts'
    metric: 'SuccessServerLatency'
    aggregation: 'Average'
    operator: 'GreaterThan'
    threshold: 500
    dimensions: []
  }
]

var accountRules = [for i in range(0, length(accounts) * length(storageRules)): union(storageRules[i % length(storageRules)], {
  key: '${storageRules[i % length(storageRules)].key}-${accounts[i / length(storageRules)].name}'
  scopes: [accounts[i / length(storageRules)].id]
})]

var premiumRules = [
  {
    key: 'bus-saturated'
    title: 'Service Bus is nearly full'
    text: 'Processor of the namespace above 70 %. Add a messaging unit before it throttles.'
    severity: 2
    scopes: [serviceBusId]
    type: 'Microsoft.ServiceBus/namespaces'
    metric: 'NamespaceCpuUsage'
    aggregation: 'Maximum'
    operator: 'GreaterThan'
    threshold: 70
    dimensions: []
  }
]

var allResourceRules = concat(resourceRules, accountRules, serviceBusPremium ? premiumRules : [])

// Rules without anybody to write to are seen in the portal alone.
resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(emails)) {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'sluice'
    enabled: true
    emailReceivers: [for (one, i) in emails: {
      name: 'mail-${i}'
      emailAddress: one
      useCommonAlertSchema: true
    }]
  }
}

resource onMessages 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for one in messageRules: {
  name: '${prefix}-${one.key}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: one.title
    description: one.text
    severity: one.severity
    enabled: one.enabled
    scopes: [
      workspaceId
    ]
    evaluationFrequency: one.frequency
    windowSize: one.window
    overrideQueryTimeRange: one.lookBack
    // A new workspace has no tables yet, and the service would refuse the rule for it. The tests read every query.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: one.query
          timeAggregation: 'Maximum'
          metricMeasureColumn: one.measure
          operator: one.operator
          threshold: one.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: one.periods
            minFailingPeriodsToAlert: one.periods
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(emails) ? [] : [
        group.id
      ]
    }
  }
}]

resource onResources 'Microsoft.Insights/metricAlerts@2026-01-01' = [for one in allResourceRules: {
  name: '${prefix}-${one.key}'
  location: 'global'
  tags: tags
  properties: {
    description: '${one.title}. ${one.text}'
    severity: one.severity
    enabled: true
    scopes: one.scopes
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: one.metric
          metricNamespace: one.type
          metricName: one.metric
          timeAggregation: one.aggregation
          operator: one.operator
          threshold: one.threshold
          dimensions: one.dimensions
        }
      ]
    }
    actions: empty(emails) ? [] : [
      {
        actionGroupId: group.id
      }
    ]
  }
}]
