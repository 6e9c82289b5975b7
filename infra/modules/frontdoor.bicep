metadata description = 'Front Door with a web application firewall, before a gateway that answers nobody else.'

@description('Name of the profile.')
param name string

@description('Name of the endpoint; the host that callers use begins with it.')
param endpointName string

@description('Name of the firewall\'s policy: letters and digits.')
param firewallName string

@description('Tags of every resource.')
param tags object

@description('The gateway\'s host, in the public cloud `NAME.azure-api.net`.')
param gatewayHost string

@description('Whether the firewall refuses what its rules find, or only writes it down.')
param mode 'Detection' | 'Prevention'

@description('Networks that are let in, as CIDR; empty: all.')
param allowedNetworks string[]

@description('Requests a minute of one client address; more are refused.')
param requestsPerMinute int

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

// The managed rules are in Premium alone.
var sku = 'Premium_AzureFrontDoor'

// Webhooks of some senders have their key in the query: logs have none of its values.
var scrubbing = {
  state: 'Enabled'
  scrubbingRules: [
    {
      matchVariable: 'QueryStringArgNames'
      selectorMatchOperator: 'EqualsAny'
      state: 'Enabled'
    }
  ]
}

var networks = empty(allowedNetworks) ? [] : [
  {
    name: 'NetworksThatAreLetIn'
    priority: 10
    enabledState: 'Enabled'
    ruleType: 'MatchRule'
    action: 'Block'
    matchConditions: [
      {
        matchVariable: 'SocketAddr'
        operator: 'IPMatch'
        negateCondition: true
        matchValue: allowedNetworks
      }
    ]
  }
]

var rate = [
  {
    name: 'RequestsOfOneAddress'
    priority: 20
    enabledState: 'Enabled'
    ruleType: 'RateLimitRule'
    rateLimitDurationInMinutes: 1
    rateLimitThreshold: requestsPerMinute
    action: 'Block'
    matchConditions: [
      {
        matchVariable: 'SocketAddr'
        operator: 'IPMatch'
        negateCondition: true
        matchValue: [
          '192.0.2.0/24' // an address that nobody has: the rule counts everybody
        ]
      }
    ]
  }
]

resource firewall 'Microsoft.Network/FrontDoorWebApplicationFirewallPolicies@2024-02-01' = {
  name: firewallName
  location: 'Global'
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    policySettings: {
      enabledState: 'Enabled'
      mode: mode
      requestBodyCheck: 'Enabled'
      logScrubbing: scrubbing
    }
    customRules: {
      rules: concat(networks, rate)
    }
    managedRules: {
      managedRuleSets: [
        {
          ruleSetType: 'Microsoft_DefaultRuleSet'
          ruleSetVersion: '2.1'
          ruleSetAction: 'Block'
        }
        {
          ruleSetType: 'Microsoft_BotManagerRuleSet'
          ruleSetVersion: '1.1'
        }
      ]
    }
  }
}

resource profile 'Microsoft.Cdn/profiles@2024-09-01' = {
  name: name
  location: 'Global'
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    originResponseTimeoutSeconds: 240 // its most, and longer than a stream may last
    logScrubbing: scrubbing
  }
}

resource endpoint 'Microsoft.Cdn/profiles/afdEndpoints@2024-09-01' = {
  parent: profile
  name: endpointName
  location: 'Global'
  tags: tags
  properties: {
    enabledState: 'Enabled'
  }
}

resource gateways 'Microsoft.Cdn/profiles/originGroups@2024-09-01' = {
  parent: profile
  name: 'gateway'
  properties: {
    loadBalancingSettings: {
      sampleSize: 4
      successfulSamplesRequired: 2
      additionalLatencyInMilliseconds: 0
    }
    healthProbeSettings: {
      probePath: '/status-0123456789abcdef' // the gateway's own; no policy of the API is asked
      probeProtocol: 'Https'
      probeRequestType: 'GET'
      probeIntervalInSeconds: 100
    }
    sessionAffinityState: 'Disabled'
  }
}

resource origin 'Microsoft.Cdn/profiles/originGroups/origins@2024-09-01' = {
  parent: gateways
  name: 'gateway'
  properties: {
    hostName: gatewayHost
    originHostHeader: gatewayHost
    httpsPort: 443
    httpPort: 80
    priority: 1
    weight: 1000
    enabledState: 'Enabled'
    enforceCertificateNameCheck: true
  }
}

// No cache: what the API answers is its caller's alone.
resource route 'Microsoft.Cdn/profiles/afdEndpoints/routes@2024-09-01' = {
  parent: endpoint
  name: 'api'
  properties: {
    originGroup: {
      id: gateways.id
    }
    patternsToMatch: [
      '/*'
    ]
    supportedProtocols: [
      'Https'
    ]
    forwardingProtocol: 'HttpsOnly'
    httpsRedirect: 'Disabled'
    linkToDefaultDomain: 'Enabled'
    enabledState: 'Enabled'
  }
  // A route to a group without an origin is refused.
  dependsOn: [
    origin
  ]
}

resource security 'Microsoft.Cdn/profiles/securityPolicies@2024-09-01' = {
  parent: profile
  name: 'firewall'
  properties: {
    parameters: {
      type: 'WebApplicationFirewall'
      wafPolicy: {
        id: firewall.id
      }
      associations: [
        {
          domains: [
            {
              id: endpoint.id
            }
          ]
          patternsToMatch: [
            '/*'
          ]
        }
      ]
    }
  }
  dependsOn: [
    route
  ]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: profile
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
  dependsOn: [
    security
  ]
}

@description('What the gateway knows its requests by: the header X-Azure-FDID.')
output frontDoorId string = profile.properties.frontDoorId

@description('Where callers reach the API.')
output uri string = 'https://${endpoint.properties.hostName}'
