metadata description = 'API Management in front of the API: who may call, how often, from where, and which colour answers.'

@description('Name of the service.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Tier. Consumption knows no limits by key, no pool of backends and no resource logs.')
@allowed([
  'Consumption'
  'BasicV2'
  'StandardV2'
  'Premium'
])
param sku string

@description('Units; 0 for Consumption.')
param capacity int

@description('Where the service sends its notices.')
param publisherEmail string

@description('Shown in the developer portal.')
param publisherName string

@description('URI of the API\'s app.')
param blueUri string

@description('URI of the second colour\'s app; empty: there is none.')
param greenUri string

@description('Issuer of callers\' tokens; empty: the app alone checks callers.')
param issuer string

@description('Audience of callers\' tokens.')
param audience string

@description('Issuers of callers\' tokens beside the first, each with issuer and audiences; the app checks which roles theirs give.')
param moreIssuers array

@description('Calls a minute of each client.')
param callsPerMinute int

@description('Calls a day of each client.')
param callsPerDay int

@description('Bytes of the largest body.')
param bodyLimit int

@description('Client addresses that are let in: a list of first and last; empty: all.')
param allowedRanges array

@description('Whether Front Door alone may call.')
param behindFrontDoor bool

@description('Its id, which it sends with every request.')
param frontDoorId string

@description('Id of the subnet through which the gateway reaches a private API; empty: none.')
param subnetId string

@description('Application Insights component.')
param componentName string

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

var byKey = sku != 'Consumption'
var classic = sku == 'Consumption' || sku == 'Premium'
var coloured = byKey && !empty(greenUri)
var backendName = coloured ? 'sluice-colours' : 'sluice-blue'

var ranges = [for one in allowedRanges: '<address-range from="${one.first}" to="${one.last}" />']
var doorFragment = '<fragment><check-header name="X-Azure-FDID" failed-check-httpcode="403" failed-check-error-message="Calls come through Front Door." ignore-case="true"><value>${frontDoorId}</value></check-header></fragment>'
var addressesFragment = behindFrontDoor ? doorFragment : empty(allowedRanges) ? '<fragment />' : '<fragment><ip-filter action="allow">${join(ranges, '')}</ip-filter></fragment>'
var declared = loadJsonContent('../declarations.json')
// Auth0's issuers end with a slash.
var openIds = [for one in moreIssuers: '<openid-config url="${one.issuer}${endsWith(one.issuer, '/') ? '' : '/'}.well-known/openid-configuration" />']
var audiences = [for one in moreIssuers: '<audience>${join(one.audiences, '</audience><audience>')}</audience>']
var issuers = [for one in moreIssuers: '<issuer>${one.issuer}</issuer>']
var openIdLines = replace(join(openIds, ''), '&', '&amp;')
var audienceLines = replace(join(audiences, ''), '&', '&amp;')
var issuerLines = replace(join(issuers, ''), '&', '&amp;')
var callersTemplate = replace(replace(replace(loadTextContent('../policies/callers.xml'), '__OPENID__', openIdLines), '__AUDIENCES__', audienceLines), '__ISSUERS__', issuerLines)
// Another issuer's roles may be in another claim: then the app alone asks for one.
var rolesTemplate = empty(moreIssuers) ? callersTemplate : replace(replace(callersTemplate, '<required-claims>', '<!--'), '</required-claims>', '-->')
var callersFragment = empty(issuer) ? '<fragment />' : replace(rolesTemplate, '__OPEN__', declared.openRoutes)
// Consumption holds every answer back until it is whole, so what is a stream can't come through it.
var streaming = sku == 'Consumption' ? loadTextContent('../policies/no-streams.xml') : '<forward-request timeout="240" follow-redirects="false" buffer-request-body="false" buffer-response="false" />'
var apiTemplate = replace(replace(loadTextContent('../policies/api.xml'), '__BACKEND__', backendName), '__BODY_LIMIT__', string(bodyLimit))
var apiPolicyText = replace(replace(apiTemplate, '__STREAMS__', declared.streamingRoutes), '<streaming />', streaming)
// Counting by key is not in Consumption, a quota by key in classic tiers alone (Microsoft's policy reference).
var limitsByTier = {
  Consumption: loadTextContent('../policies/limits-consumption.xml')
  BasicV2: loadTextContent('../policies/limits-v2.xml')
  StandardV2: loadTextContent('../policies/limits-v2.xml')
  Premium: loadTextContent('../policies/limits.xml')
}
var limitsFragment = limitsByTier[sku]

var values = {
  'sluice-openid-url': empty(issuer) ? 'none' : '${issuer}${endsWith(issuer, '/') ? '' : '/'}.well-known/openid-configuration'
  'sluice-issuer': empty(issuer) ? 'none' : issuer
  'sluice-audience': empty(audience) ? 'none' : audience
  'sluice-calls-per-minute': string(callsPerMinute)
  'sluice-calls-per-day': string(callsPerDay)
}

var products = [
  {
    name: 'standard'
    title: 'Standard'
    text: 'For systems that send orders every day. A person approves each subscription.'
    share: 1
  }
  {
    name: 'trial'
    title: 'Trial'
    text: 'For trying things out, with a tenth of the calls.'
    share: 10
  }
]

resource service 'Microsoft.ApiManagement/service@2024-05-01' = {
  // checkov:skip=CKV_AZURE_174: the gateway is what faces the outside; what is behind it is private when asked
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    capacity: capacity
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    publisherEmail: publisherEmail
    publisherName: publisherName
    publicNetworkAccess: 'Enabled'
    virtualNetworkType: empty(subnetId) ? 'None' : 'External'
    virtualNetworkConfiguration: empty(subnetId) ? null : {
      subnetResourceId: subnetId
    }
    apiVersionConstraint: {
      minApiVersion: '2021-08-01'
    }
    // The newer tiers know nothing older than TLS 1.2.
    customProperties: classic ? {
      'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Protocols.Tls10': 'false'
      'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Protocols.Tls11': 'false'
      'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Backend.Protocols.Tls10': 'false'
      'Microsoft.WindowsAzure.ApiManagement.Gateway.Security.Backend.Protocols.Tls11': 'false'
    } : {}
  }
}

// The service takes one change at a time (PessimisticConcurrencyConflict): each waits for the one before.
@batchSize(1)
resource value 'Microsoft.ApiManagement/service/namedValues@2024-05-01' = [for one in items(values): {
  parent: service
  name: one.key
  properties: {
    displayName: one.key
    value: one.value
  }
}]

resource addresses 'Microsoft.ApiManagement/service/policyFragments@2024-05-01' = {
  parent: service
  name: 'sluice-addresses'
  properties: {
    description: 'Who is let in: client addresses, or Front Door alone.'
    format: 'xml'
    value: addressesFragment
  }
  dependsOn: [
    value
  ]
}

resource callers 'Microsoft.ApiManagement/service/policyFragments@2024-05-01' = {
  parent: service
  name: 'sluice-callers'
  properties: {
    description: 'Tokens are checked here first, so that a bad one costs the app nothing. The app checks again.'
    format: 'xml'
    value: callersFragment
  }
  dependsOn: [
    addresses
  ]
}

resource limits 'Microsoft.ApiManagement/service/policyFragments@2024-05-01' = {
  parent: service
  name: 'sluice-limits'
  properties: {
    description: 'Calls a minute and a day. Never exact, by its documentation: the app keeps a limit of its own.'
    format: 'xml'
    value: limitsFragment
  }
  dependsOn: [
    callers
  ]
}

resource errors 'Microsoft.ApiManagement/service/policyFragments@2024-05-01' = {
  parent: service
  name: 'sluice-errors'
  properties: {
    description: 'What is no answer of the app, in the API\'s own error format.'
    format: 'xml'
    value: loadTextContent('../policies/errors.xml')
  }
  dependsOn: [
    limits
  ]
}

resource blue 'Microsoft.ApiManagement/service/backends@2024-05-01' = {
  parent: service
  name: 'sluice-blue'
  properties: {
    description: 'The API.'
    protocol: 'http'
    url: blueUri
    circuitBreaker: byKey ? {
      rules: [
        {
          name: 'unavailable'
          acceptRetryAfter: true
          tripDuration: 'PT10S'
          failureCondition: {
            count: 20
            interval: 'PT10S'
            statusCodeRanges: [
              {
                min: 502
                max: 504
              }
            ]
          }
        }
      ]
    } : null
  }
  dependsOn: [
    errors
  ]
}

resource green 'Microsoft.ApiManagement/service/backends@2024-05-01' = if (!empty(greenUri)) {
  parent: service
  name: 'sluice-green'
  properties: {
    description: 'The API in its second colour.'
    protocol: 'http'
    url: greenUri
  }
  dependsOn: [
    blue
  ]
}

// Made once and then left alone: a rollout moves the weights, and a deployment of this file must not move them back.
@onlyIfNotExists()
resource pool 'Microsoft.ApiManagement/service/backends@2024-05-01' = if (coloured) {
  parent: service
  name: 'sluice-colours'
  properties: {
    description: 'Both colours, by weight.'
    type: 'Pool'
    pool: {
      services: [
        {
          id: blue.id
          weight: 100
        }
        {
          id: green.id
          weight: 0
        }
      ]
    }
  }
  dependsOn: [
    green
  ]
}

resource versions 'Microsoft.ApiManagement/service/apiVersionSets@2024-05-01' = {
  parent: service
  name: 'sluice'
  properties: {
    displayName: 'Sluice'
    versioningScheme: 'Header'
    versionHeaderName: 'Api-Version'
  }
  // Each by name: one whose condition doesn't hold is no link of a chain.
  dependsOn: [
    blue
    green
    pool
  ]
}

resource api 'Microsoft.ApiManagement/service/apis@2024-05-01' = {
  parent: service
  name: 'sluice'
  properties: {
    displayName: 'Sluice'
    description: 'Takes commands in, and tells what became of them. Without the header Api-Version it is the first version.'
    // The gateway has the app's own paths: what the app says in Location is right for who came through the gateway.
    path: ''
    protocols: [
      'https'
    ]
    apiVersionSetId: versions.id
    // Tokens and API keys say who calls. Consumption counts calls by subscription alone, so it asks for one.
    subscriptionRequired: !byKey
    // A required parameter of the query stays one; the import would make it a part of the path.
    translateRequiredQueryParameters: 'query'
    format: 'openapi+json'
    value: loadTextContent('../openapi.json')
  }
  dependsOn: [
    versions
  ]
}

// What the description leaves out, such as itself. Importing it takes these away, so they come after it.
@batchSize(1)
resource operation 'Microsoft.ApiManagement/service/apis/operations@2024-05-01' = [for one in declared.operations: {
  parent: api
  name: one.name
  properties: {
    displayName: '${one.method} ${one.path}'
    method: one.method
    urlTemplate: one.path
    templateParameters: one.parameters
  }
}]

resource apiPolicy 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = {
  parent: api
  name: 'policy'
  properties: {
    format: 'xml'
    value: apiPolicyText
  }
  dependsOn: [
    addresses
    callers
    limits
    errors
    blue
    pool
    operation
  ]
}

@batchSize(1)
resource product 'Microsoft.ApiManagement/service/products@2024-05-01' = [for one in products: {
  parent: service
  name: one.name
  properties: {
    displayName: one.title
    description: one.text
    subscriptionRequired: true
    approvalRequired: true
    state: 'published'
  }
  dependsOn: [
    apiPolicy
  ]
}]

@batchSize(1)
resource productApi 'Microsoft.ApiManagement/service/products/apis@2024-05-01' = [for (one, i) in products: {
  parent: product[i]
  name: api.name
  dependsOn: [
    product
  ]
}]

@batchSize(1)
resource productPolicy 'Microsoft.ApiManagement/service/products/policies@2024-05-01' = [for (one, i) in products: {
  parent: product[i]
  name: 'policy'
  properties: {
    format: 'xml'
    value: replace(replace(loadTextContent('../policies/product.xml'), '__CALLS_A_MINUTE__', string((callsPerMinute + one.share - 1) / one.share)), '__CALLS_A_DAY__', string((callsPerDay + one.share - 1) / one.share))
  }
  dependsOn: [
    productApi
  ]
}]

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(component.id, service.id, 'Monitoring Metrics Publisher')
  scope: component
  properties: {
    principalId: service.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '3913510d-42f4-4e42-8a64-420c390055eb')
    description: 'The gateway sends its part of each trace; without a role the component takes none.'
  }
}

resource logger 'Microsoft.ApiManagement/service/loggers@2024-05-01' = {
  parent: service
  name: 'telemetry'
  properties: {
    loggerType: 'applicationInsights'
    resourceId: component.id
    credentials: {
      connectionString: component.properties.ConnectionString
      identityClientId: 'SystemAssigned'
    }
  }
  dependsOn: [
    productPolicy
    publisher
  ]
}

resource tracing 'Microsoft.ApiManagement/service/apis/diagnostics@2024-05-01' = {
  parent: api
  name: 'applicationinsights'
  properties: {
    loggerId: logger.id
    alwaysLog: 'allErrors'
    httpCorrelationProtocol: 'W3C'
    logClientIp: false
    sampling: {
      samplingType: 'fixed'
      percentage: 10
    }
  }
  dependsOn: [
    logger
  ]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: service
  properties: {
    workspaceId: workspaceId
    logs: byKey ? [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ] : []
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output id string = service.id
output name string = service.name
output uri string = service.properties.gatewayUrl
output poolId string = coloured ? pool.id : ''
