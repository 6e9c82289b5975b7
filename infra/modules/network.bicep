metadata description = 'The private network: one subnet for what goes out of the apps, one for endpoints, one for the gateway.'

@description('Whether there is a private network; without it this file deploys nothing.')
param enabled bool

@description('Name of the network.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Address range of the network: a /24, of which each subnet takes 64 addresses.')
param addressPrefixes array

@description('Address range of the apps\' subnet: /26, for several apps on Flex Consumption.')
param functionsPrefix string

@description('Address range of the endpoints\' subnet.')
param endpointsPrefix string

@description('Address range of the gateway\'s subnet.')
param gatewayPrefix string

@description('Id of the workspace that takes logs and metrics.')
param workspaceId string

resource appsRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = if (enabled) {
  name: 'nsg-${name}-functions'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'nobody-comes-in'
        properties: {
          description: 'The apps are reached through their endpoints, never through the subnet that they go out of.'
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointsRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = if (enabled) {
  name: 'nsg-${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'network-comes-in'
        properties: {
          description: 'HTTPS and AMQP over TLS, from inside the network.'
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRanges: [
            '443'
            '5671'
          ]
        }
      }
      {
        name: 'nobody-else-comes-in'
        properties: {
          description: 'Whatever else would reach an endpoint.'
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource gatewayRules 'Microsoft.Network/networkSecurityGroups@2025-01-01' = if (enabled) {
  name: 'nsg-${name}-gateway'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'nobody-comes-in'
        properties: {
          description: 'The gateway only goes out through this subnet.'
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-01-01' = if (enabled) {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: addressPrefixes
    }
    subnets: [
      {
        name: 'snet-functions'
        properties: {
          addressPrefix: functionsPrefix
          networkSecurityGroup: {
            id: appsRules.id
          }
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'snet-endpoints'
        properties: {
          addressPrefix: endpointsPrefix
          networkSecurityGroup: {
            id: endpointsRules.id
          }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
      {
        name: 'snet-gateway'
        properties: {
          addressPrefix: gatewayPrefix
          networkSecurityGroup: {
            id: gatewayRules.id
          }
          delegations: [
            {
              name: 'gateway'
              properties: {
                serviceName: 'Microsoft.Web/serverFarms'
              }
            }
          ]
        }
      }
    ]
  }
}

resource networkDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (enabled) {
  name: 'to-workspace'
  scope: network
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
}

resource appsRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (enabled) {
  name: 'to-workspace'
  scope: appsRules
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource endpointsRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (enabled) {
  name: 'to-workspace'
  scope: endpointsRules
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource gatewayRulesDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (enabled) {
  name: 'to-workspace'
  scope: gatewayRules
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

output id string = enabled ? network.id : ''
output functionsSubnetId string = enabled ? '${network.id}/subnets/snet-functions' : ''
output endpointsSubnetId string = enabled ? '${network.id}/subnets/snet-endpoints' : ''
output gatewaySubnetId string = enabled ? '${network.id}/subnets/snet-gateway' : ''
